import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { MAIN, type Outcome, touchstone } from '../support/cli.js';
import { ROOT, temporaryFolder } from '../support/fixtures.js';
import { describeWith, missingNumpy, pythonWithNumpy } from '../support/parts.js';

const folder = mkdtempSync(join(tmpdir(), 'touchstone-kit-'));
const kit = join(folder, 'kit');
let made: Outcome;
beforeAll(() => {
  made = touchstone(['kit', kit]);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('touchstone kit', () => {
  it('says what it has written', () => {
    expect(made.err).toBe('');
    expect(made.code).toBe(0);
    const [size] = /\d\.\d\d MB/.exec(made.out)!;
    expect(made.out).toBe(`${kit}: 11 checkpoints with 14 traces, 41 files, ${size}; begin with its README.md\n`);
  });

  it('prints one JSON object', () => {
    const out = join(folder, 'some');
    const { out: text, code } = touchstone(['kit', out, '--only', 'mla', '--json']);
    expect(code).toBe(0);
    const printed = JSON.parse(text);
    expect(printed).toMatchObject({ out, checkpoints: ['mla'], traces: ['mla', 'mla.absorbed'], files: 9 });
    expect(printed.bytes).toBeGreaterThan(5e5);
    expect(
      touchstone(['golden', join(out, 'checkpoints', 'mla'), '--ids', '1', '--out', join(folder, 'g.safetensors')])
        .code,
    ).toBe(0);
  });

  it('refuses a folder that is not empty, a name that it does not know, and no folder', () => {
    const used = touchstone(['kit', kit]);
    expect(used).toEqual({
      out: '',
      err: `touchstone: ${kit}: is not empty; name a folder that is, or is not there yet.\n`,
      code: 2,
    });
    const unknown = touchstone(['kit', join(folder, 'new'), '--only', 'gqb']);
    expect(unknown.err).toMatch(/^touchstone: only \(--only\): expected mha, gqa, .*, got gqb\.\n$/);
    expect(unknown.code).toBe(2);
    expect(touchstone(['kit']).code).toBe(2);
    const nowhere = touchstone(['kit', join(folder, 'no', 'where')]);
    expect([nowhere.code, nowhere.err]).toEqual([
      1,
      `touchstone: ${join(folder, 'no', 'where')}: cannot be written (ENOENT).\n`,
    ]);
  });

  it.each(['not there yet', 'empty'])('leaves nothing behind after Ctrl-C, in a folder that is %s', async (state) => {
    const parent = temporaryFolder();
    const out = join(parent, 'out');
    if (state === 'empty') mkdirSync(out);
    const before = readdirSync(parent, { recursive: true });
    const child = spawn(process.execPath, [MAIN, 'kit', out], { stdio: 'ignore' });
    const closed = new Promise((resolve) => child.once('close', resolve));
    while (readdirSync(parent, { recursive: true }).length < before.length + 5) await setTimeout(5); // traces are being written
    child.kill('SIGINT');
    expect(await closed).toBe(130);
    expect(readdirSync(parent, { recursive: true })).toEqual(before);
  });
});

describeWith(missingNumpy(), 'a kit, and a hundred lines of NumPy', () => {
  const script = join(ROOT, 'test', 'reference', 'check_kit.py');

  function checked(of: string): { code: number | null; lines: string[] } {
    const { status, stdout, stderr } = spawnSync(pythonWithNumpy()!, [script, '.'], { cwd: of, encoding: 'utf8' });
    expect(stderr).toBe('');
    return { code: status, lines: stdout.trim().split('\n') };
  }

  /** A copy of the kit in which a row of one tensor is changed. */
  function planted(file: string, tensor: string, change: (bytes: DataView) => void, row = 0): string {
    const copy = join(mkdtempSync(join(folder, 'copy-')), 'kit');
    cpSync(kit, copy, { recursive: true });
    const path = join(copy, file);
    const bytes = readFileSync(path);
    const { begin, rowBytes, dataStart } = withSafetensors(path, ({ tensors, dataStart }) => {
      const { begin, end, shape } = tensors.get(tensor)!;
      return { begin, dataStart, rowBytes: (end - begin) / shape[0]! };
    });
    change(new DataView(bytes.buffer, bytes.byteOffset + dataStart + begin + row * rowBytes, rowBytes));
    writeFileSync(path, bytes);
    return copy;
  }

  const twice = (view: DataView) => view.setFloat32(0, 2 * view.getFloat32(0, true), true);

  it('is a hundred lines', () => {
    expect(readFileSync(script, 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(100);
  });

  it('agree on every tensor of three checkpoints', () => {
    const { code, lines } = checked(kit);
    expect(lines.filter((line) => !line.startsWith('ok ('))).toEqual([]);
    expect(code).toBe(0);
    const tensors = lines.map((line) => Number(/: (\d+) tensors/.exec(line)![1]));
    const count = (name: string) =>
      withSafetensors(
        join(kit, 'traces', `${name}.safetensors`),
        (file) => [...file.tensors.keys()].filter((key) => !key.startsWith('noise.')).length,
      );
    expect(tensors.reduce((sum, n) => sum + n, 0)).toBe(
      ['mha', 'gqa', 'mqa'].reduce((sum, name) => sum + count(name), 0),
    );
    for (const line of lines) expect(Number(/at most (\S+) of/.exec(line)![1]), line).toBeLessThan(0.75);
  });

  it.each([
    ['model.layers.1.self_attn.o_proj.weight', 'layers.1.attention.output 0'],
    ['model.layers.0.mlp.down_proj.weight', 'layers.0.feed_forward.output 0'],
    ['model.norm.weight', 'final_norm 0'],
  ])('differ where one weight of %s is twice as large', (tensor, place) => {
    const { code, lines } = checked(planted('checkpoints/gqa/model.safetensors', tensor, twice));
    expect(code).toBe(1);
    expect(lines.find((line) => line.startsWith('FAIL'))).toContain(`FAIL ${place} (gqa `);
    expect(
      lines.filter((line) => line.includes('mha') || line.includes('mqa')).every((line) => line.startsWith('ok')),
    ).toBe(true);
  });

  it.each([
    ['layers.1.attention.scores', 20],
    ['layers.0.cache.v', 36],
    ['logits', 36],
  ])('differ where a trace has another %s in row %i', (tensor, row) => {
    const { code, lines } = checked(planted('traces/mha.safetensors', tensor, twice, row));
    expect(code).toBe(1);
    expect(lines.filter((line) => line.startsWith('FAIL')).map((line) => line.split(' (')[0])).toContain(
      `FAIL ${tensor} ${row}`,
    );
  });
});
