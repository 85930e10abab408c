/** Caches in fewer bytes on the command line: forms, calibrated scales, and what they cost. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { editJson } from '../support/checkpoint.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const MODEL = fixture('austen-sinks');

/** A text of some tokens. */
function textFile(): string {
  const path = join(temporaryFolder(), 'text.txt');
  writeFileSync(path, readFileSync(fixture('austen-held-out.txt'), 'utf8').slice(0, 900));
  return path;
}

it('a run says in which form it kept its rows, and golden files record it', () => {
  const kivi = [
    '--kv-dtype',
    'int4',
    '--kv-zero',
    'affine',
    '--kv-keys',
    'channel',
    '--kv-group',
    '8',
    '--kv-residual',
    '16',
  ];
  const out = join(temporaryFolder(), 'golden.safetensors');
  output(['golden', MODEL, '--ids', '1,2,3,4,5,6,7,8,9', '--steps', '20', ...kivi, '--out', out]);
  expect(readFileSync(out, 'latin1')).toContain('int4, affine, keys by channel, groups of 8, residual 16');
  const args = ['generate', '--model', MODEL, '--ids', '1,2,3,4,5,6,7,8,9', '-n', '30', '--json'];
  const bytes = [[], ['--kv-dtype', 'int4'], kivi].map((flags) => {
    return (JSON.parse(output([...args, ...flags])) as { stats: { kv_bytes_used: number } }).stats.kv_bytes_used;
  });
  // 4 layers, 38 tokens, 4 heads of 32, keys and values
  expect(bytes[0]).toBe(4 * 38 * 256 * 4);
  expect(bytes[1]).toBe(4 * 38 * (128 + 8 * 2));
  expect(bytes[2]).toBe(4 * (32 * (64 + 64 + 4 * 4 * 2 * 2) + (32 / 8) * 128 * 2 * 2 + 6 * 256 * 4));
});

it('calibrate writes scales that fp8 runs take, and that other runs refuse', () => {
  const [text, out] = [textFile(), join(temporaryFolder(), 'scales.json')];
  expect(output(['calibrate', MODEL, '--text', text, '--out', out])).toMatch(
    /the largest values of 4 layers on \d+ tokens/,
  );
  const { amax } = JSON.parse(readFileSync(out, 'utf8')) as { amax: { keys: number[]; values: number[] }[] };
  expect(amax.map(({ keys, values }) => [keys.length, values.length])).toEqual(Array(4).fill([4, 4]));
  const args = ['generate', '--model', MODEL, 'It was a', '-n', '8', '--no-stream', '--kv-dtype', 'fp8_e4m3'];
  const texts = ['tensor', 'head'].map((scale) => output([...args, '--kv-scale', scale, '--kv-scales', out]));
  expect(texts[0]).toMatch(/\w/);
  const scaled = ['--kv-scale', 'head', '--kv-scales', out];
  const other = touchstone(['generate', 'It was', '-n', '2', '--kv-dtype', 'fp8_e4m3', ...scaled]);
  expect([other.code, other.err]).toEqual([1, expect.stringContaining('measured with another config.json; calibrate')]);
  const slots = touchstone([...args, ...scaled, '--rope-positions', 'in-cache']);
  expect([slots.code, slots.err]).toEqual([
    1,
    expect.stringContaining('positions = absolute, and this run has in-cache'),
  ]);
  const seen = touchstone([...args, ...scaled, '--visibility', 'sliding', '--window', '9']);
  expect([seen.code, seen.err]).toEqual([
    1,
    expect.stringContaining('visibility = causal, and this run has sliding 9'),
  ]);
  const saved = readFileSync(out, 'utf8');
  editJson(out, (file) => ({ ...file, amax: (file.amax as unknown[]).slice(1) }));
  expect(touchstone([...args, ...scaled]).err).toContain('measured with other layers or streams; calibrate again');
  editJson(out, (file) => ({ ...file, amax: Array(4).fill({ keys: [1e300, 1, 1, 1], values: [1, 1, 1, 1] }) }));
  expect(touchstone([...args, ...scaled]).err).toContain("each of 4 heads of 'keys' in layer 0, got [1e+300,1,1,1]");
  writeFileSync(out, saved);
  editJson(out, (file) => ({ ...file, sha256: { 'config.json': 'x' } }));
  const changed = touchstone([...args, ...scaled]);
  expect([changed.code, changed.err]).toEqual([
    1,
    expect.stringContaining('measured with another config.json; calibrate again'),
  ]);
  editJson(out, (file) => ({ ...file, format: 'other' }));
  expect(touchstone([...args, ...scaled]).err).toContain('the key format = "other" is not valid');
});

it('a golden whose tokens all lie in the residual says that none is read quantised', () => {
  const out = join(temporaryFolder(), 'golden.safetensors');
  const kivi = ['--kv-dtype', 'int4', '--kv-keys', 'channel'];
  const short = touchstone(['golden', MODEL, '--ids', '1,2,3', ...kivi, '--out', out]);
  expect([short.code, short.err]).toEqual([
    0,
    expect.stringContaining('none of 3 tokens is read as int4, symmetric, keys by channel'),
  ]);
  const long = touchstone([
    'golden',
    MODEL,
    '--ids',
    '1,2,3',
    '--steps',
    '30',
    ...kivi,
    '--kv-residual',
    '32',
    '--out',
    out,
  ]);
  expect([long.code, long.err]).toEqual([0, '']);
});

it('a saved cache with a residual goes on from any common beginning: from its block, if it must', () => {
  const out = join(temporaryFolder(), 'cache.safetensors');
  const form = [
    '--model',
    MODEL,
    '--kv-dtype',
    'int4',
    '--kv-keys',
    'channel',
    '--kv-group',
    '4',
    '--kv-residual',
    '8',
  ];
  const ids = Array.from({ length: 20 }, (_, i) => i + 1);
  output(['generate', ...form, '--ids', ids.join(), '-n', '0', '--save-cache', out]);
  for (const prompt of [ids.slice(0, 10), [...ids.slice(0, 15), 99, 98, 97], [...ids, 5], ids.slice(0, 3)]) {
    const args = ['generate', ...form, '--ids', prompt.join(), '-n', '6', '--no-stream'];
    expect(output([...args, '--load-cache', out])).toBe(output(args));
  }
});

it('keys by channel take pages of whole groups where no page size is given', () => {
  const args = [
    'generate',
    '--model',
    MODEL,
    '--ids',
    '1,2,3',
    '-n',
    '40',
    '--no-stream',
    '--kv-dtype',
    'int4',
    '--kv-keys',
    'channel',
    '--kv-residual',
    '32',
  ];
  expect(output([...args, '--cache', 'prefix'])).toBe(output(args));
});

it.each<[string[], number, string]>([
  [['calibrate', MODEL, '--text', '/nowhere', '--out', 'x'], 1, '/nowhere: cannot be read (ENOENT)'],
  [
    ['calibrate', MODEL, '--text', fixture('austen-held-out.txt'), '--out', join(MODEL, 'config.json')],
    2,
    'is a file that is read here',
  ],
  [
    ['calibrate', fixture('tiny-mistral-f16'), '--text', fixture('austen-held-out.txt'), '--out', 'x'],
    1,
    'there is no tokenizer.json',
  ],
  [['quality', MODEL], 2, "required option '--text <file>' not specified"],
  [
    ['quality', MODEL, '--text', fixture('austen-held-out.txt'), '--lossy-window', '9', '--rope-positions', 'in-cache'],
    2,
    '--lossy-window: rules with a window are measured without',
  ],
  [
    ['quality', MODEL, '--text', fixture('austen-held-out.txt'), '--segment', '20', '--lossy-window', '20'],
    2,
    'a window of 20 hides nothing in segments of 20',
  ],
  [['calibrate', MODEL, '--text', '/dev/null', '--out', 'x'], 1, '/dev/null: the file has no text'],
  [
    ['quality', MODEL, '--text', fixture('austen-held-out.txt'), '--segment', '129'],
    2,
    "--segment: the model's context is 128 tokens, got 129",
  ],
  [
    ['quality', MODEL, '--text', fixture('austen-held-out.txt'), '--tokens', '1'],
    2,
    'Expected a whole number of at least 2',
  ],
])('%j ends with code %i and one sentence', (args, code, message) => {
  const found = touchstone(args);
  expect(found.err).toContain(message);
  expect(found.err).not.toContain('    at ');
  expect(found.code).toBe(code);
});

it('quality leaves positions in the cache out where a model cannot have them, and says why', () => {
  const args = ['quality', fixture('austen-gpt2'), '--text', textFile(), '--tokens', '41', '--segment', '20', '--json'];
  const found = touchstone(args);
  const { choices } = JSON.parse(found.out) as { choices: { name: string }[] };
  expect(choices.map(({ name }) => name).slice(-3)).toEqual(['sliding 5', 'chunked 5', 'sinks 4 + 1']);
  expect(found.err).toBe(
    'touchstone: left out: Positions in-cache: this model has layers without rope, whose keys carry no position that could be changed; choose absolute.\n',
  );
});

it('quality puts every lossy choice beside the exact run', () => {
  const args = ['quality', MODEL, '--text', textFile(), '--tokens', '150', '--segment', '64'];
  const { choices } = JSON.parse(output([...args, '--json'])) as { choices: Record<string, number | string>[] };
  const by = Object.fromEntries(choices.map((choice) => [choice.name, choice])) as Record<
    string,
    Record<string, number>
  >;
  expect(by.exact).toMatchObject({ meanKl: 0, maxKl: 0, top1: 1 });
  expect(Object.keys(by).filter((name) => /^(float16|bfloat16|fp8|int)/.test(name)).length).toBe(15);
  expect(Object.keys(by).slice(-4)).toEqual(['sliding 16', 'chunked 16', 'sinks 4 + 12', 'sinks 4 + 12 in-cache']);
  for (const { perplexity, meanKl, maxKl, top1 } of choices.slice(1) as Record<string, number>[]) {
    expect(Number.isFinite(perplexity)).toBe(true);
    expect(meanKl).toBeGreaterThan(0);
    expect(maxKl).toBeGreaterThan(meanKl!);
    expect(top1).toBeGreaterThan(0.5);
  }
  const kl = (name: string) => by[name]!.meanKl!;
  expect(kl('float16')).toBeLessThan(kl('bfloat16'));
  expect(kl('bfloat16')).toBeLessThan(kl('fp8_e4m3'));
  expect(kl('int8, symmetric, groups of 32')).toBeLessThan(kl('int4, symmetric, groups of 32'));
  const lines = output(args).split('\n');
  expect(lines[0]).toContain('150 tokens in segments of 64');
  expect(lines.filter((line) => line.startsWith('| '))).toHaveLength(2 + choices.length);
});
