/** `touchstone devices`, as a user runs it; and how commands end that hold a device. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { MAIN, touchstone } from '../support/cli.js';

/** Dawn then offers a device that computes nothing, on any machine. */
const COMPUTES_NOTHING = { DAWNNODE_BACKEND: 'null' };

/** A machine whose Vulkan loader, if it has one, finds no driver. */
const NO_DRIVER = { LD_LIBRARY_PATH: '', VK_ICD_FILENAMES: '/nowhere.json', VK_DRIVER_FILES: '/nowhere.json' };

const devices = (args: readonly string[], variables: NodeJS.ProcessEnv = COMPUTES_NOTHING) =>
  touchstone(['devices', ...args], '', variables);

interface Listed {
  readonly name: string;
  readonly available: boolean;
  readonly reason?: string;
  readonly test?: { readonly ran: readonly string[]; readonly passed: boolean; readonly checks: readonly object[] };
}

describe('touchstone devices', () => {
  it('tests each device, and ends with code 1 if one of them computes what is wrong', () => {
    const { out, err, code } = devices(['--seconds', '0.01', '--json']);
    const { automatic, testCase, devices: listed } = JSON.parse(out) as Record<string, never> & { devices: Listed[] };
    expect(listed.map(({ name, available, test }) => [name, available, test?.ran, test?.passed])).toEqual([
      ['webgpu', true, ['webgpu'], false],
      ['wasm', true, ['webasm'], true],
      ['cpu', true, ['cpu'], true],
    ]);
    for (const { test } of listed.slice(1)) {
      expect(test?.checks).toMatchObject([
        { kvDtype: 'float32', passed: true, kvBytes: 4096 * 2 * 8 * 64 * 4 },
        { kvDtype: 'int8', passed: true },
      ]);
    }
    expect(automatic).toEqual({ name: 'wasm', passedOver: [expect.stringContaining('webgpu is software here')] });
    expect(testCase).toEqual({ queryHeads: 32, keyValueHeads: 8, headDim: 64, tokens: 4096, seconds: 0.01 });
    expect([err, code]).toEqual([
      'touchstone: The self-test fails on webgpu: what is computed there is wrong; choose another --device.\n',
      1,
    ]);
  });

  it('tests one device, and prints a table', () => {
    const { out, err, code } = devices(['--device', 'wasm', '--seconds', '0.01']);
    expect([err, code]).toEqual(['', 0]);
    expect(out).toMatch(/^wasm {4}WebAssembly, 128-bit SIMD, one thread\n\nEach was tested for 0.01 s/);
    expect(out).not.toContain('auto');
    const cells = [...out.matchAll(/^\| (wasm.*) \|$/gm)].map(([, row]) => row!.split('|').map((cell) => cell.trim()));
    expect(cells.map((row) => [...row.slice(0, 3), row[5]])).toEqual([
      ['wasm', 'webasm', 'float32', 'PASS'],
      ['wasm', 'webasm', 'int8', 'PASS'],
    ]);
  });

  it('lists them without a test', () => {
    const { out, err, code } = devices(['--no-test']);
    expect([err, code]).toEqual(['', 0]);
    expect(out).toMatch(/^webgpu {2}.*\(software: it computes on the processor\)$/m);
    expect(out).toMatch(/^cpu {5}JavaScript, one thread$/m);
    expect(out).toMatch(/\n\n--device auto takes wasm; webgpu is software here \(.*\)\.\n$/);
    expect(JSON.parse(devices(['--no-test', '--json', '--device', 'cpu']).out)).toEqual({
      automatic: null,
      testCase: null,
      devices: [{ name: 'cpu', available: true, about: 'JavaScript, one thread', software: true }],
    });
  });

  it.each<[args: string[], message: string]>([
    [['--device', 'tpu'], 'Allowed choices are webgpu, wasm, cpu'],
    [['--seconds', '0'], 'Expected a number above 0'],
    [['--seconds', 'long'], 'Expected a number'],
    [['--seconds', '1', '--no-test'], '--seconds: with --no-test nothing is measured'],
    [['webgpu'], 'too many arguments'],
  ])('%j ends with code 2 and one sentence', (args, message) => {
    const found = devices(args);
    expect(found.err).toContain(message);
    expect([found.code, found.out]).toEqual([2, '']);
  });
});

const linux = process.platform === 'linux';

const folder = mkdtempSync(join(tmpdir(), 'touchstone-devices-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a machine without a GPU', () => {
  it.skipIf(!linux)('is told what is missing, and hears nothing of what Dawn warns of (Vulkan is on Linux)', () => {
    const { out, err, code } = devices(['--no-test'], NO_DRIVER);
    expect([err, code]).toEqual(['', 0]);
    expect(out).toMatch(/^webgpu {2}not available: .*Vulkan.*; install .*, or choose --device wasm\.$/m);
    expect(out).toContain('--device auto takes wasm.\n');
    const run = touchstone(['generate', 'It was', '-n', '2', '--kernel', 'gpu', '--stats'], '', NO_DRIVER);
    expect(run.code).toBe(0);
    expect(run.err).toContain('\n          not webgpu: ');
    expect(run.err).not.toContain('Warning');
  });

  it.skipIf(!linux)('is told what Dawn says of a loader that cannot be used (Vulkan is on Linux)', () => {
    const report = process.report.getReport() as unknown as { sharedObjects: string[] };
    symlinkSync(report.sharedObjects.find((path) => /\/libm[.-]/.test(path))!, join(folder, 'libvulkan.so.1'));
    const { out, err, code } = devices(['--no-test'], { ...NO_DRIVER, LD_LIBRARY_PATH: folder });
    expect([err, code]).toEqual(['', 0]);
    expect(out).toMatch(/^webgpu {2}not available: Vulkan offers no GPU \(.*vkGetInstanceProcAddr.*\); install /m);
  });

  it.skipIf(!linux)('is refused webgpu by name (Vulkan is on Linux)', () => {
    for (const args of [['devices'], ['generate', 'It was', '--kernel', 'gpu']]) {
      const { out, err, code } = touchstone([...args, '--device', 'webgpu'], '', NO_DRIVER);
      expect(err).toMatch(/^touchstone: Device webgpu: .*; install .*, or choose --device wasm\.$/m);
      expect([out, code]).toEqual(['', 1]);
    }
  });
});

describe('a command that holds a GPU', () => {
  const started = (args: readonly string[]) =>
    spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...COMPUTES_NOTHING } });
  const ended = (child: ReturnType<typeof started>) =>
    new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));

  it('ends with code 130 when it is interrupted', async () => {
    const child = started(['devices', '--device', 'webgpu', '--seconds', '600']);
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGINT'), 100));
    expect(await ended(child)).toBe(130);
  });

  it('ends with what it has found when nobody reads on', async () => {
    const child = started(['devices', '--device', 'webgpu', '--seconds', '0.01']);
    child.stdout.once('data', () => child.stdout.destroy());
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    expect(await ended(child)).toBe(1);
    expect(err).toMatch(/^touchstone: The self-test fails on webgpu: .*\n$/);
  });

  it('ends with the error that comes after the GPU was opened', () => {
    const gpu = ['generate', 'It was', '--kernel', 'gpu', '--device', 'webgpu'];
    const long = touchstone([...gpu, '-n', '100000'], '', COMPUTES_NOTHING);
    expect(long.err).toContain("exceed the model's context");
    expect([long.code, long.out]).toEqual([1, '']);
    const prompt = join(folder, 'prompt.txt');
    writeFileSync(prompt, 'It was');
    const same = touchstone(
      [...gpu.toSpliced(1, 1), '--prompt-file', prompt, '--save-cache', prompt],
      '',
      COMPUTES_NOTHING,
    );
    expect(same.err).toContain('is a file that is read here');
    expect([same.code, same.out]).toEqual([2, '']);
  });
});
