/** `touchstone bench attention`, as a user runs it, and what it says of results that no run here has. No test says how long anything takes. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { attentionBenchPlot } from '../../cli/bench-attention-plot.js';
import { type AttentionBench, unmeasuredOf } from '../../cli/bench-attention-report.js';
import { attentionBenchText } from '../../cli/bench-attention-text.js';
import { MAIN, output, touchstone } from '../support/cli.js';
import { tagsOf } from '../support/xml.js';

const BENCH = ['bench', 'attention'];
const KERNELS = ['--kernels', 'reference,flash,cpu'];
const SMALL = ['--shapes', '4/2/8,2/2/4', '--decode', '24,9', '--prefill', '5', '--seconds', '0.02'];
const folder = mkdtempSync(join(tmpdir(), 'bench-attention-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The cells of each row of the tables. */
const rowsOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('| --'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

describe('touchstone bench attention', () => {
  it('prints a table of decode, one of prefill and one of bytes, and writes a plot', () => {
    const file = join(folder, 'plot.svg');
    const text = output([...BENCH, ...SMALL, ...KERNELS, '--svg', file]);
    const rows = rowsOf(text);
    const times = (speed: string) => ['T', 'reference, ms', speed, 'flash, ms', speed, 'x plain', 'cpu, ms', speed, 'x plain']; // biome-ignore format: a list
    expect(rows[0]).toEqual(['shape', ...times('GB/s'), 'fastest']);
    expect(rows.slice(1, 5).map(([shape, T]) => [shape, T])).toEqual([
      ['4/2/8', '9'],
      ['4/2/8', '24'],
      ['2/2/4', '9'],
      ['2/2/4', '24'],
    ]);
    expect(rows[5]).toEqual(['shape', ...times('GFLOP/s'), 'fastest']);
    for (const row of rows.slice(1, 8).filter(([shape]) => shape !== 'shape')) {
      expect(row.slice(2, -1).every((cell) => /^[\d.,]+\*?$/.test(cell))).toBe(true);
      expect(['reference', 'flash', 'cpu']).toContain(row.at(-1));
    }
    expect(rows[8]).toEqual(['pass', 'shape', 'T', 'rows read', 'cpu uploaded']);
    expect(rows.slice(9)).toEqual([
      ['decode', '4/2/8', '24', '3.07 kB', '128 B'],
      ['prefill', '4/2/8', '5', '640 B', '640 B'],
      ['decode', '2/2/4', '24', '1.54 kB', '64 B'],
      ['prefill', '2/2/4', '5', '320 B', '320 B'],
    ]);
    expect(text).toContain('gpu.js ran cpu: JavaScript, one thread; ');
    expect(text).toContain("Every result is the reference's within the kernel's declared bound");
    const lines = tagsOf(readFileSync(file, 'utf8')).flatMap(({ attributes }) => attributes['data-line'] ?? []);
    expect(lines).toEqual(Array(4).fill(['reference', 'flash', 'cpu']).flat());
    expect(readdirSync(folder)).toEqual(['plot.svg']); // nothing is left beside it
  });

  it('prints one JSON object, with every number', () => {
    const args = ['--shapes', 'gpt2', '--decode', '6', '--no-prefill', '--seconds', '0.02', '--kv-dtype', 'int8'];
    const pages = ['--cache', 'paged', '--page-size', '4', '--seed', '3'];
    const found = JSON.parse(output([...BENCH, ...args, ...KERNELS, ...pages, '--json'])) as AttentionBench;
    expect(Object.keys(found)).toEqual(['machine', 'settings', 'kernels', 'leftOut', 'cells']);
    expect(found.settings).toEqual({ cache: 'paged', pageSize: 4, dtype: 'int8', seed: 3, seconds: 0.02 });
    expect(found.kernels.map(({ name, device }) => [name, device?.name ?? null, device?.ran ?? null])).toEqual([
      ['reference', null, null],
      ['flash', null, null],
      ['cpu', 'cpu', ['cpu']],
    ]);
    const { times, ...cell } = found.cells[0]!;
    const rowBytes = 6 * 2 * 12 * (64 + (2 * 64) / 32); // codes, and a scale of 2 bytes for 32 of them
    const operations = 6 * 12 * 2 * 128;
    expect(cell).toEqual({ shape: 'gpt2', heads: '12/12/64', pass: 'decode', tokens: 6, rowBytes, operations, leftOut: [] }); // biome-ignore format: one object
    expect(Object.keys(times[2]!)).toEqual(
      'kernel calls medianMs leastMs ratio gbPerSecond gflopPerSecond moved compiled compileMs processors agreement'.split(' '), // biome-ignore format: a list
    );
    for (const one of times) {
      expect(one.calls).toBeGreaterThanOrEqual(3);
      expect(one.medianMs).toBeGreaterThanOrEqual(one.leastMs);
      expect(one.gbPerSecond).toBeCloseTo(rowBytes / one.medianMs / 1e6, 9);
    }
    expect(times.map(({ ratio }) => ratio !== null)).toEqual([true, true, true]);
    expect([times[0]!.compiled, times[2]!.compiled]).toEqual([0, 2]);
    expect(times[2]!.agreement!.difference).toBeLessThanOrEqual(times[2]!.agreement!.bound);
  });

  const withoutDriver = (args: readonly string[]) =>
    spawnSync(process.execPath, [MAIN, ...BENCH, ...args], {
      encoding: 'utf8',
      env: { ...process.env, VK_ICD_FILENAMES: '/nowhere' },
    });

  // What takes the driver away is Vulkan's own variable, which is read on Linux alone.
  it.runIf(process.platform === 'linux')(
    'leaves a device out that is not there, with the reason; named, it is an error',
    () => {
      const args = ['--shapes', '2/1/4', '--decode', '4', '--no-prefill', '--seconds', '0.02'];
      const { stdout, status } = withoutDriver([...args, '--json']);
      expect(status).toBe(0);
      const { kernels, leftOut } = JSON.parse(stdout) as AttentionBench;
      expect(kernels.map(({ name }) => name)).toEqual(['reference', 'flash', 'wasm']);
      expect(leftOut).toEqual([{ kernel: 'webgpu', reason: expect.stringMatching(/^Device webgpu: .*\.$/) }]);
      expect(withoutDriver(args).stdout).toContain('Not measured: webgpu. Device webgpu: ');
      const named = withoutDriver([...args, '--kernels', 'reference,webgpu']);
      expect([named.status, named.stdout]).toEqual([1, '']);
      expect(named.stderr).toContain('touchstone: Device webgpu: ');
    },
  );

  it.each<[args: string[], code: number, message: string]>([
    [['x'], 2, 'too many arguments'],
    [['--shapes', '5/2/8'], 2, "'5/2/8' is no shape: expected gpt2, "],
    [['--shapes', ''], 2, "'' is no shape"],
    [['--decode', '128,0'], 2, 'Expected tokens with commas between them, such as 128,1024.'],
    [['--prefill', '-1'], 2, 'Expected tokens with commas between them'],
    [['--no-decode', '--no-prefill'], 2, '--no-decode and --no-prefill leave nothing to time'],
    [
      ['--kernels', 'reference,gpu'],
      2,
      "'gpu' is no kernel here: expected reference, flash, cpu, wasm, webgpu (the kernel gpu goes by its devices).",
    ],
    [['--cache', 'ring'], 2, 'Allowed choices are contiguous, paged.'],
    [['--page-size', '4'], 2, '--page-size: goes with --cache paged.'],
    [['--kv-dtype', 'int3'], 2, 'Allowed choices are float32, '],
    [['--seconds', '0'], 2, 'Expected a number above 0.'],
    [['--seed', '4294967296'], 2, '--seed: expected a whole number from 0 to 4294967295'],
    [['--decode', '999999999'], 2, 'gpt2: rows of 999999999 tokens take 6.14 TB, and this machine has '],
    [['--svg', '/nowhere/plot.svg'], 1, '/nowhere/plot.svg: cannot be written (ENOENT).'],
  ])('%j ends with code %i and one sentence', (args, code, message) => {
    const found = touchstone([...BENCH, ...args]);
    expect(found.err).toContain(message);
    expect(found.err).not.toContain('    at ');
    expect([found.code, found.out]).toEqual([code, '']);
  });

  it('writes no plot where the file cannot take its place', () => {
    const found = touchstone([...BENCH, '--shapes', '1/1/4', '--decode', '2', '--no-prefill', '--seconds', '0.01', '--kernels', 'reference', '--svg', folder]); // biome-ignore format: one command
    expect(found.code).toBe(1);
    expect(found.err).toContain(`${folder}: cannot be written`);
    expect(existsSync(`${folder}.svg`)).toBe(false);
  });
});

/** A run of two kernels over four lengths: one was called too rarely, one is faster, one level, one slower. */
function made(change: (bench: AttentionBench) => AttentionBench = (bench) => bench): AttentionBench {
  const device = { name: 'webgpu', ran: ['webgpu'], about: 'a driver', software: true, passedOver: [], compiled: 5, compileMs: 1500, bytes: 0 }; // biome-ignore format: one object
  const times = (kernel: string, medianMs: number, ratio: number, calls = 9) => ({
    kernel, calls, medianMs, leastMs: medianMs, ratio, gbPerSecond: 1 / medianMs, gflopPerSecond: 2, moved: { uploaded: 1000, downloaded: 0, staged: 0 },
    compiled: 0, compileMs: 0, processors: 1, agreement: kernel === 'reference' ? null : { difference: 1, bound: 8 },
  }); // biome-ignore format: one object
  const cell = {
    shape: 'gpt2',
    heads: '12/12/64',
    pass: 'decode' as const,
    rowBytes: 2e6,
    operations: 10,
    leftOut: [],
  };
  return change({
    machine: { node: '20.0.0', system: 'linux x64', processor: 'a processor', processors: 2 },
    settings: { cache: 'contiguous', pageSize: 16, dtype: 'float32', seed: 0, seconds: 1 },
    kernels: [{ name: 'reference', device: null }, { name: 'webgpu', device }], // biome-ignore format: a list
    leftOut: [],
    cells: [
      { ...cell, tokens: 128, times: [times('reference', 1, 1), times('webgpu', 12345, 1.5, 2)] },
      { ...cell, tokens: 512, times: [times('reference', 10, 1), times('webgpu', 5, 2)] },
      { ...cell, tokens: 768, times: [times('reference', 20, 1), times('webgpu', 19.5, 1.03)] },
      { ...cell, tokens: 1024, times: [times('reference', 40, 1), times('webgpu', 10, 0.00417)] },
    ],
  });
}

describe('attentionBenchText', () => {
  it('says that software is no GPU, in the table and beside it', () => {
    const text = attentionBenchText(made());
    expect(rowsOf(text)[0]).toContain('webgpu (software), ms');
    expect(text).toContain('software emulation on the processor (a driver), not a GPU: these times say nothing of one; 5 kernels were compiled in 1.5 s'); // biome-ignore format: one sentence
    expect(attentionBenchPlot(made())).toContain('gpu.js webgpu (software, not a GPU)');
    const real = made(({ kernels: [plain, gpu], ...bench }) => {
      return { ...bench, kernels: [plain!, { ...gpu!, device: { ...gpu!.device!, software: false } }] };
    });
    expect(attentionBenchText(real)).not.toContain('software');
    expect(attentionBenchPlot(real)).not.toContain('software');
  });

  it('says where plain TypeScript is faster, which is the fastest, and where calls were few', () => {
    const text = attentionBenchText(made());
    expect(rowsOf(text)[1]).toEqual(['gpt2 12/12/64', '128', '1', '1', '12,345*', '0.000081', '1.50', 'webgpu']);
    expect(rowsOf(text)[4]).toEqual(['gpt2 12/12/64', '1,024', '40', '0.025', '10', '0.1', '0.0042', 'reference']);
    expect(text).toContain('Plain TypeScript against webgpu: faster in 1 of 3 (decode: gpt2 at 1,024), level within 5 % in 1, slower in 1.'); // biome-ignore format: one sentence
    expect(text).toContain('*: fewer than 3 calls');
    expect(text).toContain('the largest difference is 12.5 % of it');
    expect(text).not.toContain('Other programs used this machine');
  });

  it('knows kernels that were left out everywhere', () => {
    const { cells } = made();
    expect(unmeasuredOf(['reference', 'webgpu', 'wasm'], cells)).toEqual(['wasm']);
    const without = cells.map((cell) => ({ ...cell, times: cell.times.slice(0, 1) }));
    expect(unmeasuredOf(['reference', 'webgpu'], [...without.slice(1), cells[0]!])).toEqual([]);
    expect(unmeasuredOf(['reference', 'webgpu'], without)).toEqual(['webgpu']);
  });

  it('names what was not measured, and results that are wrong', () => {
    const text = attentionBenchText(
      made(({ cells: [first, , , second], ...bench }) => {
        const [plain, gpu] = second!.times;
        const wrong = { ...gpu!, agreement: { difference: 9, bound: 8 } };
        const untried = { ...first!, times: [plain!], leftOut: [{ kernel: 'webgpu', reason: 'Too slow.' }] };
        const leftOut = [{ kernel: 'wasm', reason: 'Device wasm: none.' }];
        return { ...bench, leftOut, cells: [untried, { ...second!, times: [plain!, wrong] }] };
      }),
    );
    expect(rowsOf(text)[1]!.slice(4)).toEqual(['-', '', '', '']);
    expect(text).toContain('- Not measured: wasm. Device wasm: none.');
    expect(text).toContain('- Not measured (-): webgpu, decode gpt2. Too slow.');
    expect(text).toContain('- WRONG: webgpu, decode gpt2 at T = 1,024: ');
    expect(text).not.toContain('Every result');
  });

  it('says so when other programs used the machine', () => {
    const text = attentionBenchText(
      made((bench) => ({
        ...bench,
        cells: bench.cells.map((cell) => ({
          ...cell,
          times: cell.times.map((times) => ({ ...times, processors: 0.5 })),
        })),
      })),
    );
    expect(text).toContain('`reference` had 50 % of a processor on average');
  });
});
