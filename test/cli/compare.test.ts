import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Comparison } from '../../src/reference/compare/comparison.js';
import { openDump } from '../../src/reference/dump/open.js';
import { copyOf } from '../support/checkpoint.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const MODEL = fixture('tiny-llama-rope3-f16');
const RIGHT = fixture('dumps/tiny-llama-rope3-f16.safetensors');
const WRONG = fixture('dumps/wrong-port.safetensors');

const json = (args: readonly string[], code: number): Comparison => {
  const found = touchstone([...args, '--json']);
  expect(found.code, found.err).toBe(code);
  expect(found.err).toBe('');
  expect(found.out.trimEnd().split('\n')).toHaveLength(1);
  return JSON.parse(found.out) as Comparison;
};

describe('touchstone compare', () => {
  it('ends with 0 where nothing is different, and says so first', () => {
    const { out, err, code } = touchstone(['compare', RIGHT, '--model', MODEL, '--bisect']);
    expect(code, err).toBe(0);
    expect(out).toMatch(/^within noise: \d+ tensors/);
    expect(out).toContain('no root cause');
    expect(out).not.toContain('\x1b');
    expect(json(['compare', RIGHT, '--model', MODEL], 0)).toMatchObject({
      verdict: 'within noise',
      first: null,
      dtype: 'float32',
    });
  });

  it('names the place where a wrong port parts, its cause, and ends with 1', () => {
    const { out, err, code } = touchstone(['compare', WRONG, '--model', MODEL, '--bisect']);
    expect(code).toBe(1);
    expect(err).toBe('');
    expect(out).toMatch(
      /^different: first at layers\.0\.attention\.q_rope \(theirs: model\.layers\.0\.self_attn\.q_rope\)/,
    );
    expect(out.match(/^root cause: /gm)).toHaveLength(2);
    expect(out).toContain('; the same in layers 0-1');
    expect(out).toContain('everything else follows from them');
    const found = json(['compare', WRONG, '--model', MODEL], 1);
    expect(found).toMatchObject({
      verdict: 'different',
      first: { tensor: 'layers.0.attention.q_rope', position: 1 },
      bisection: null,
    });
    expect(found.tokens).toMatchObject({ verdict: 'different', first: { step: 0, ambiguous: false } });
  });

  it('compares with a golden, whose options are settled', () => {
    const golden = join(temporaryFolder(), 'golden.safetensors');
    const numbers = output([
      'golden',
      MODEL,
      '--ids',
      idsOfDump().join(),
      '--steps',
      '3',
      '--capture',
      'layers',
      '--noise',
      '--out',
      golden,
    ]);
    expect(numbers).toMatch(/logits \[7, 256\] in float32, 3 generated tokens, \d+ tensors/);
    expect(json(['compare', RIGHT, '--golden', golden], 0).verdict).toBe('within noise');
    expect(json(['compare', WRONG, '--golden', golden], 1).verdict).toBe('different');
    for (const flag of [
      ['--model', MODEL],
      ['--ids', '1'],
      ['--bisect'],
      ['--attention', 'mha'],
      ['--cache', 'paged'],
    ]) {
      const { err, code } = touchstone(['compare', RIGHT, '--golden', golden, ...flag]);
      expect(code).toBe(2);
      expect(err).toMatch(new RegExp(`--golden: the file decides how it was run; leave out ${flag[0]}, or --golden`));
    }
  });

  it('takes an emulated dtype for the reference', () => {
    const dump = join(temporaryFolder(), 'narrow.safetensors');
    output([
      'golden',
      MODEL,
      '--ids',
      '1,2,3,4,5',
      '--steps',
      '2',
      '--capture',
      'layers',
      '--emulate',
      'bfloat16',
      '--out',
      dump,
    ]);
    expect(json(['compare', dump, '--model', MODEL, '--emulate', 'bfloat16'], 0)).toMatchObject({
      verdict: 'identical',
      dtype: 'bfloat16',
      precision: 'bfloat16',
    });
    expect(json(['compare', dump, '--model', MODEL], 0)).toMatchObject({
      verdict: 'within noise',
      dtype: 'bfloat16',
      precision: 'float32',
    });
    expect(json(['compare', dump, '--model', MODEL, '--dtype', 'float32'], 1)).toMatchObject({ verdict: 'different' });
  });

  it('--strict ends with 1 for suspicious tensors too', () => {
    const file = join(temporaryFolder(), 'logits.json');
    const values = logitsOf([1, 2]).map((row) => row.map((x) => x * (1 + 1e-5)));
    writeFileSync(file, JSON.stringify({ input_ids: [1, 2], logits: values }));
    expect(json(['compare', file, '--model', MODEL, '--dtype', 'float32'], 0).verdict).toBe('suspicious');
    expect(json(['compare', file, '--model', MODEL, '--dtype', 'float32', '--strict'], 1).verdict).toBe('suspicious');
  });

  it('writes an HTML report whole or not at all, and annotations with a summary', () => {
    const folder = temporaryFolder();
    const [html, summary] = [join(folder, 'report.html'), join(folder, 'summary.md')];
    writeFileSync(summary, 'before\n');
    const args = ['compare', WRONG, '--model', MODEL, '--bisect', '--html', html, '--format', 'github'];
    const { out, code } = touchstone(args, '', { GITHUB_STEP_SUMMARY: summary });
    expect(code).toBe(1);
    expect(
      out
        .trimEnd()
        .split('\n')
        .every((line) => /^::(error|warning|notice) /.test(line)),
    ).toBe(true);
    expect(out).toContain('layers.0.attention.q_rope');
    expect(readFileSync(summary, 'utf8')).toMatch(/^before\n[\s\S]*different/);
    expect(readFileSync(html, 'utf8')).toMatch(/^<!doctype html>[\s\S]*layers\.1\.attention\.k_rope/i);
    expect(readdirSync(folder).sort()).toEqual(['report.html', 'summary.md']);
    const model = copyOf('tiny-llama-rope3-f16');
    const config = join(model, 'config.json');
    const before = readFileSync(config);
    expect(touchstone(['compare', RIGHT, '--model', model, '--html', config])).toMatchObject({ code: 2, out: '' });
    expect(readFileSync(config)).toEqual(before);
    const copy = join(folder, 'dump.safetensors');
    copyFileSync(RIGHT, copy);
    expect(
      touchstone(['compare', copy, '--model', MODEL, '--html', join(folder, '.', 'x', '..', 'dump.safetensors')]),
    ).toMatchObject({ code: 2, out: '' });
    expect(readFileSync(copy)).toEqual(readFileSync(RIGHT));
  });

  it('says what is wrong with what it is given', () => {
    const folder = temporaryFolder();
    const ragged = join(folder, 'ragged.json');
    writeFileSync(ragged, '{"logits": [[1, 2], [3]]}');
    const map = join(folder, 'map.json');
    writeFileSync(map, '{"a": "layers.{i}.attention.queries"}');
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [['compare'], 2, /missing required argument/],
      [['compare', join(folder, 'none.npy'), '--model', MODEL], 1, /none\.npy: there is no such file/],
      [['compare', ragged, '--model', MODEL], 1, /ragged\.json: .*logits/],
      [['compare', RIGHT, '--model', fixture('austen-llama')], 1, /is no|cannot|vocabulary|shape|different/],
      [['compare', RIGHT, '--model', MODEL, '--map', map], 1, /layers\.\{i\}\.attention\.queries.*did you mean/],
      [['compare', RIGHT, '--model', MODEL, '--ids', '1', '--ids-file', map], 2, /--ids or --ids-file, got both/],
      [['compare', RIGHT, '--model', MODEL, '--ids', '1,2,3,4,5'], 1, /not the tokens that were given/],
      [['compare', RIGHT, '--model', MODEL, '--dtype', 'int8'], 2, /--dtype/],
      [['compare', RIGHT, '--golden', fixture('tiny-llama-rope3-f16/model.safetensors')], 1, /it is no trace/],
    ];
    for (const [args, code, message] of cases) {
      const found = touchstone(args);
      expect(found.code, found.err + found.out).toBe(code);
      expect(found.err + found.out).toMatch(message);
      expect(found.err).not.toContain('    at ');
    }
  });
});

describe('touchstone splice', () => {
  it('tells what lies before a point from what lies after it', () => {
    const right = touchstone([
      'splice',
      WRONG,
      '--model',
      MODEL,
      '--at',
      'layers.1.attention.q_rope,layers.1.attention.k_rope',
      '--at',
      'layers.0.output',
    ]);
    expect(right.code, right.err).toBe(0);
    expect(right.out).toContain('and what follows is within noise: what is wrong lies there or before it.');
    const wrong = touchstone(['splice', WRONG, '--model', MODEL, '--at', 'layers.0.output']);
    expect(wrong.code).toBe(1);
    expect(wrong.out).toMatch(/^different: first at layers\.1\.attention\.q_rope/);
    expect(wrong.out).not.toMatch(/\| layers\.0/);
    const named = touchstone(['splice', WRONG, '--model', MODEL, '--at', 'model.layers.0', '--prefill-chunk', '3']);
    expect(named.out).toBe(wrong.out);
    const unknown = touchstone(['splice', WRONG, '--model', MODEL, '--at', 'layers.7.output']);
    expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining('did you mean layers.') });
    expect(touchstone(['splice', WRONG, '--model', MODEL, '--at', 'logits']).err).toContain(
      'nothing of theirs follows',
    );
    expect(touchstone(['splice', WRONG, '--model', MODEL])).toMatchObject({ code: 2 });
  });
});

function idsOfDump(): number[] {
  const dump = openDump(RIGHT);
  const ids = [...dump.tensors.get('input_ids')!.read()];
  dump.close();
  return ids;
}

function logitsOf(ids: readonly number[]): number[][] {
  const out = join(temporaryFolder(), 'logits.safetensors');
  output(['golden', MODEL, '--ids', ids.join(), '--out', out]);
  const dump = openDump(out);
  const logits = dump.tensors.get('logits')!.read();
  dump.close();
  return ids.map((_, t) => [...logits.subarray(256 * t, 256 * (t + 1))]);
}
