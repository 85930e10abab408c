import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import type { Diagnosis } from '../../src/reference/diagnose/diagnosis.js';
import { openDump } from '../../src/reference/dump/open.js';
import { touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const MODEL = fixture('tiny-llama-rope3-f16');
const RIGHT = fixture('dumps/tiny-llama-rope3-f16.safetensors');
const WRONG = fixture('dumps/wrong-port.safetensors');

const json = (args: readonly string[], code: number): Diagnosis => {
  const found = touchstone(['diagnose', ...args, '--json']);
  expect(found.code, found.err).toBe(code);
  expect(found.err).toBe('');
  return JSON.parse(found.out) as Diagnosis;
};

describe('touchstone diagnose', () => {
  it('names the bug first, then what is seen and done about it, and ends with 1', () => {
    const { out, err, code } = touchstone(['diagnose', WRONG, '--model', MODEL]);
    expect(code, err).toBe(1);
    expect(err).toBe('');
    expect(out).not.toContain('\x1b');
    expect(out).toMatch(
      /^rope-interleaved, at every layer: rope rotates neighbouring values .*\. \(match \d\.\de-\d, reference is off by 0\.\d+\)\n\n/,
    );
    expect(out).toContain('\n\nsymptom: queries and keys are right before rope');
    expect(out).toContain('\nfix: rotate (i, i + R/2)');
    expect(out).toMatch(/\nfirst divergence: layers\.0\.attention\.q_rope/);
    expect(out).toMatch(
      /\(float32\) against .*tiny-llama-rope3-f16, by \d+ of their tensors; \d+ mistakes that this model can have were tried, in \d+ runs\.\n$/,
    );
    expect(out).not.toContain('cannot be told apart');
  });

  it('ends with 0 where nothing is wrong', () => {
    const { out, err, code } = touchstone(['diagnose', RIGHT, '--model', MODEL]);
    expect(code, err).toBe(0);
    expect(out).toMatch(/^within noise: rounding explains all of the difference, so nothing is wrong\.\n/);
    expect(out).not.toMatch(/fix:|nearest|first divergence/);
    expect(json([RIGHT, '--model', MODEL], 0)).toMatchObject({
      conclusion: { kind: 'within noise' },
      verdict: 'within noise',
      first: null,
      nearest: [],
    });
  });

  it('--json has all of it, and is one object that JSON can hold', () => {
    const found = json([WRONG, '--model', MODEL], 1);
    expect(found).toMatchObject({
      conclusion: { kind: 'explained', explanations: [{ faults: [{ name: 'rope-interleaved', group: 'positions', where: 'everywhere' }] }] }, // biome-ignore format: one thought
      dtype: 'float32',
      verdict: 'different',
    });
    expect(found.runs).toBeGreaterThan(10);
    expect(found.evidence).toContain('layers.0.attention.q_rope');
    const { conclusion } = found;
    if (conclusion.kind === 'explained') expect(typeof conclusion.explanations[0].ratio).toBe('number');
  });

  it('has numbers that JSON has not as texts', () => {
    const file = join(temporaryFolder(), 'broken.safetensors');
    const dump = openDump(WRONG);
    const tensors = [...dump.tensors.values()].map(({ name, shape, read }) => {
      if (/ids$/.test(name)) return { name, dtype: 'I64', shape, data: BigInt64Array.from(read(), BigInt) } as const;
      const data = Float32Array.from(read());
      if (name === 'logits') data[5] = Number.NaN;
      return { name, dtype: 'F32', shape, data } as const;
    });
    dump.close();
    writeSafetensors(file, tensors);
    const found = json([file, '--model', MODEL, '--no-pairs'], 1);
    const explanation = { faults: [{ name: 'rope-interleaved' }], ratio: 'Infinity', until: 'logits' };
    expect(found.conclusion).toMatchObject({ kind: 'partly', explanation });
  });

  it('takes the tokens from --ids for logits that come without', () => {
    const folder = temporaryFolder();
    const dump = openDump(WRONG);
    const ids = [...dump.tensors.get('input_ids')!.read()];
    const own = dump.tensors.get('logits') ?? [...dump.tensors.values()].find(({ name }) => /logits/.test(name))!;
    const width = own.shape.at(-1)!;
    const values = own.read();
    dump.close();
    const rows = ids.map((_, t) => [...values.subarray(t * width, (t + 1) * width)]);
    const file = join(folder, 'logits.json');
    writeFileSync(file, JSON.stringify({ logits: rows }));
    const without = touchstone(['diagnose', file, '--model', MODEL]);
    expect(without).toMatchObject({ code: 1, out: '' });
    expect(without.err).toMatch(/no tensor input_ids.*--ids/s);
    const found = json([file, '--model', MODEL, '--ids', ids.join()], 1);
    expect(found.evidence).toEqual(['logits']);
    expect(found.conclusion).toMatchObject({ kind: 'explained', explanations: [{ faults: [{ name: 'rope-interleaved' }] }] }); // biome-ignore format: one thought
    const other = json([file, '--model', MODEL, '--ids', ids.with(0, (ids[0]! + 1) % 256).join(), '--no-pairs'], 1);
    expect(other.conclusion.kind).not.toBe('within noise');
  });

  it('says that nothing explains it, what comes nearest, and with --no-pairs tries no two together', () => {
    const file = join(temporaryFolder(), 'strange.json');
    const dump = openDump(RIGHT);
    const told = Object.fromEntries(
      ['input_ids', 'generated_ids', 'logits'].map((name) => {
        const { shape, read } = dump.tensors.get(name)!;
        const values = [...read()];
        return [name, name === 'logits' ? rowsOf(values, shape.at(-1)!).map((row) => row.map((x, i) => (i % 2 ? x : 1.3 * x))) : values]; // biome-ignore format: one thought
      }),
    );
    dump.close();
    writeFileSync(file, JSON.stringify(told));
    const { out, code } = touchstone(['diagnose', file, '--model', MODEL, '--no-pairs']);
    expect(code).toBe(1);
    expect(out).toMatch(/^(no known mutant explains this \(|another checkpoint: )/);
    expect(out).toMatch(/\nfirst divergence: logits/);
    const [one, two] = [json([file, '--model', MODEL, '--no-pairs'], 1), json([file, '--model', MODEL], 1)];
    expect(one.runs).toBeLessThanOrEqual(two.runs);
  });

  it('says what is wrong with what it is given, and stays short', () => {
    const folder = temporaryFolder();
    const map = join(folder, 'map.json');
    writeFileSync(map, '{"a": "layers.{i}.attention.queries"}');
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [[], 2, /missing required argument/],
      [[join(folder, 'none.npy'), '--model', MODEL], 1, /none\.npy: there is no such file/],
      [[WRONG, '--model', join(folder, 'none')], 1, /none/],
      [[WRONG, '--model', MODEL, '--map', map], 1, /did you mean/],
      [[WRONG, '--model', MODEL, '--ids', '1', '--ids-file', map], 2, /--ids or --ids-file, got both/],
      [[WRONG, '--model', MODEL, '--ids', '1,2,3,4,5'], 1, /not the tokens that were given/],
      [[WRONG, '--model', MODEL, '--dtype', 'int8'], 2, /--dtype/],
      [[WRONG, '--model', MODEL, '--pair'], 2, /unknown option/],
    ];
    for (const [args, code, message] of cases) {
      const found = touchstone(['diagnose', ...args]);
      expect(found.code, found.err + found.out).toBe(code);
      expect(found.err).toMatch(message);
      expect(found.err).not.toContain('    at ');
      expect(found.out).toBe('');
    }
  });

  it('has a help text with its exit codes, and leaves what it reads as it was', () => {
    const before = readFileSync(WRONG);
    const { out, code } = touchstone(['diagnose', '--help']);
    expect(code).toBe(0);
    expect(out).toMatch(
      /--no-pairs[\s\S]*--json[\s\S]*touchstone mutants[\s\S]*Exit codes: 0 nothing is wrong, 1 something is/,
    );
    touchstone(['diagnose', WRONG, '--model', MODEL]);
    expect(readFileSync(WRONG)).toEqual(before);
  });
});

function rowsOf(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}
