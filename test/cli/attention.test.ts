/** Strategies, rules, caches and kernels, chosen on the command line. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, GOLDENS, readGolden, temporaryFolder } from '../support/fixtures.js';

const SINKS = ['--visibility', 'sinks', '--sinks', '4', '--window', '12'];
const MISTRAL = fixture('tiny-mistral-f16');
const DEEPSEEK = fixture('tiny-deepseek-v3-bf16');

describe('choices', () => {
  it.each<[args: string[], code: number, message: string]>([
    [['--visibility', 'sliding'], 2, '--visibility sliding: needs --window TOKENS'],
    [['--visibility', 'sinks', '--window', '4'], 2, '--visibility sinks: needs --sinks TOKENS'],
    [['--visibility', 'chunked'], 2, '--visibility chunked: needs --attention-chunk TOKENS'],
    [['--window', '4'], 2, '--window: goes with --visibility sliding or sinks'],
    [['--visibility', 'chunked', '--attention-chunk', '4', '--sinks', '4'], 2, '--sinks: goes with --visibility sinks'],
    [['--visibility', 'sliding', '--window', '0'], 2, 'Expected a whole number of at least 1'],
    [['--rope-positions', 'relative'], 2, 'Allowed choices are absolute, in-cache'],
    [['--page-size', '16'], 2, '--page-size: goes with --cache paged or prefix or radix'],
    [['--pool-pages', '4'], 2, '--pool-pages: goes with --cache paged or prefix or radix'],
    [['--cache-tokens', '4'], 2, '--cache-tokens: goes with --cache preallocated'],
    [['--kv-group', '32'], 2, '--kv-group: goes with --kv-dtype int8 or int4'],
    [['--kv-dtype', 'float16', '--kv-zero', 'affine'], 2, '--kv-zero: goes with --kv-dtype int8 or int4'],
    [['--kv-dtype', 'int8', '--kv-scale', 'head'], 2, '--kv-scale: goes with --kv-dtype fp8_e4m3 or fp8_e5m2'],
    [
      ['--kv-dtype', 'fp8_e4m3', '--kv-scale', 'head'],
      2,
      '--kv-scale head: needs --kv-scales FILE, which touchstone calibrate writes',
    ],
    [['--kv-dtype', 'fp8_e4m3', '--kv-scales', 'x.json'], 2, '--kv-scales: goes with --kv-scale tensor or head'],
    [['--kv-dtype', 'fp8_e4m3', '--kv-scale', 'head', '--kv-scales', '/nowhere'], 1, '/nowhere: there is no such file'],
    [
      ['--kv-dtype', 'int4', '--kv-keys', 'channel', '--kv-residual', '40'],
      2,
      'expected a multiple of the group of 32 tokens (--kv-group), since keys by channel are stored in whole groups, got 40',
    ],
    [
      ['--kv-dtype', 'int4', '--kv-keys', 'channel', '--cache', 'paged', '--page-size', '16'],
      2,
      'choose a multiple of 32 for pageSize',
    ],
    [['--kv-dtype', 'int4', '--kv-keys', 'head'], 2, 'Allowed choices are token, channel'],
    [['--cache', 'ring'], 2, 'Cache ring: it keeps what a window still sees, and here every layer sees all tokens'],
    [['--attention', 'mqa'], 2, 'Attention mqa: the checkpoint has 2 key/value heads'],
    [['--attention', 'mla'], 2, 'Attention mla: this checkpoint has key/value heads, and no latent'],
    [['--model', DEEPSEEK, '--attention', 'mha'], 2, 'Attention mha: this checkpoint stores a latent'],
    [
      ['--cache', 'preallocated', '--cache-tokens', '6'],
      1,
      'need a cache of 7, and this one holds 6 at most; raise --cache-tokens',
    ],
    [
      ['--cache', 'paged', '--page-size', '2', '--pool-pages', '3'],
      1,
      'need a cache of 7, and this one holds 6 at most',
    ],
    [['--continuations', '2'], 2, '--continuations: greedy ones are all alike'],
    [['--cache', 'none', '--save-cache', 'x'], 2, '--save-cache: the cache none keeps nothing'],
    [['--load-cache', '/nowhere'], 1, '/nowhere: cannot be opened (ENOENT)'],
    [['--load-cache', fixture('austen-llama/model.safetensors')], 1, 'expected a saved cache'],
    [['--save-cache', fixture('austen-llama/model.safetensors')], 2, 'is a file that is read here'],
    [['--save-cache', fixture('austen-llama/tokenizer.json')], 2, 'is a file that is read here'],
    [['--cache', 'preallocated', '--cache-tokens', '9999999999999'], 1, 'There is no memory for a cache of'],
  ])('generate %j ends with code %i and one sentence', (args, code, message) => {
    const found = touchstone(['generate', '--ids', '1,2,3,4,5', '-n', '3', ...args]);
    expect(found.err).toContain(message);
    expect(found.err).not.toContain('    at ');
    expect(found.code).toBe(code);
  });

  it.each(GOLDENS.filter(({ options }) => options.visibility))('golden writes the variant $name', (golden) => {
    const { visibility, positions } = golden.options;
    const { kind, ...sizes } = visibility as { kind: string; window?: number; chunk?: number; sinks?: number };
    const named = Object.entries(sizes).flatMap(([size, value]) => [
      size === 'chunk' ? '--attention-chunk' : `--${size}`,
      String(value),
    ]);
    const { inputIds, generatedIds, truth } = readGolden(golden.name);
    const out = join(temporaryFolder(), 'golden.safetensors');
    const run = [
      '--steps',
      '64',
      '--visibility',
      kind,
      ...named,
      '--rope-positions',
      positions!,
      '--precision',
      'float64',
    ];
    output(['golden', fixture(golden.checkpoint), '--ids', inputIds.join(','), '--out', out, ...run]);
    withSafetensors(out, (file) => {
      expect(Array.from(new BigInt64Array(file.read('generated_ids')), Number)).toEqual(generatedIds);
      const logits = new Float64Array(file.read('logits'));
      for (const [i, value] of truth.entries())
        if (!(Math.abs(logits[i]! - value) < 1e-11)) throw new Error(`logit ${i}`);
      expect(JSON.parse(file.metadata.get('options')!)).toMatchObject({ positions });
    });
  });

  it('give the same tokens from every cache, and from both forms of MLA', () => {
    const run = (args: string[]) => output(['generate', '--ids', '5,6,7,8', '-n', '40', ...args]);
    const windowed = ['none', 'contiguous', 'preallocated', 'ring', 'paged', 'prefix', 'radix'];
    const texts = windowed.map((cache) => run(['--model', MISTRAL, '--cache', cache]));
    expect(new Set(texts).size).toBe(1);
    const latent = ['mla', 'mla-naive'].map((attention) => run(['--model', DEEPSEEK, '--attention', attention]));
    expect(new Set(latent).size).toBe(1);
  });

  it('bound what a ring holds, and go past the context', () => {
    const args = ['generate', '--model', fixture('tiny-llama-rope3-f16'), '--ids', '1', '-n', '600', ...SINKS];
    const { stats } = JSON.parse(output([...args, '--cache', 'ring', '--rope-positions', 'in-cache', '--json']));
    expect(stats.kv_bytes_used).toBe(16 * 512);
    expect(stats.decode_tokens).toBe(599);
  });
});

describe('saved caches', () => {
  const prompt = 'It was a truth universally acknowledged';

  it('are gone on from: by the same prompt, a longer one, another ending, and none', () => {
    const file = join(temporaryFolder(), 'cache.safetensors');
    const run = (args: string[], input = '') => output(['generate', '-n', '12', ...args], input);
    expect(run([prompt, '--save-cache', file])).toBe(run([prompt]));
    expect(readdirSync(join(file, '..'))).toEqual(['cache.safetensors']);
    for (const other of [prompt, `${prompt}, that`, 'It was a']) {
      expect(run([other, '--load-cache', file])).toBe(run([other]));
      expect(run(['--load-cache', file], other)).toBe(run([other]));
    }
    expect(run(['--load-cache', file])).toBe(run([prompt]));
    const { stats } = JSON.parse(run([`${prompt}, that`, '--load-cache', file, '--json']));
    expect(stats.prefill_tokens).toBeLessThan(5);
  });

  it('are written without generating, by -n 0', () => {
    const file = join(temporaryFolder(), 'cache.safetensors');
    output(['generate', prompt, '-n', '0', '--save-cache', file]);
    expect(existsSync(file)).toBe(true);
  });

  it('that have nothing in common with the prompt are refused', () => {
    const file = join(temporaryFolder(), 'cache.safetensors');
    output(['generate', '--ids', '1,2,3', '-n', '1', '--save-cache', file]);
    const found = touchstone(['generate', '--ids', '4,5', '--load-cache', file]);
    expect([found.code, found.err]).toEqual([1, expect.stringContaining('have no beginning in common')]);
  });
});

describe('several continuations', () => {
  it.each(['contiguous', 'paged', 'none'])('are those of single runs with the seeds that follow (%s)', (cache) => {
    const sampled = ['generate', 'It was', '-n', '10', '--temperature', '0.9', '--cache', cache, '--json'];
    const found = JSON.parse(output([...sampled, '--seed', '7', '--continuations', '3']));
    for (const [i, one] of found.continuations.entries()) {
      const alone = JSON.parse(output([...sampled, '--seed', String(7 + i)]));
      expect(one).toMatchObject({ ids: alone.ids, text: alone.text, seed: 7 + i });
    }
    if (cache === 'paged') expect(found.stats.kv_rows_computed).toBe(4 + 3 * 10);
  });

  it('are told apart in text', () => {
    const text = output(['generate', 'It was', '-n', '4', '--temperature', '1', '--seed', '1', '--continuations', '2']);
    expect(text).toMatch(/^--- 1 of 2, seed 1\n.*\n--- 2 of 2, seed 2\n.*\n$/s);
  });
});

describe('touchstone convert', () => {
  it('writes a checkpoint that gives the same text, where heads are repeated', () => {
    const out = join(temporaryFolder(), 'mha');
    expect(output(['convert', fixture('austen-llama'), out, '--to', 'mha'])).toContain(
      '2 key/value heads repeated to 8 in 8 tensors (the same logits)',
    );
    const run = (model: string) => output(['generate', 'It was', '-n', '20', '--model', model]);
    expect(run(out)).toBe(run(fixture('austen-llama')));
  });

  it.each<[args: string[], code: number, message: string]>([
    [[], 2, 'Expected one of --key-value-heads N, --to mqa and --to mha'],
    [['--to', 'mqa', '--key-value-heads', '1'], 2, 'Expected one of'],
    [['--key-value-heads', '3'], 2, 'can become 1, 4, 8, not 3'],
  ])('%j ends with code %i and one sentence', (args, code, message) => {
    const out = join(temporaryFolder(), 'out');
    const found = touchstone(['convert', fixture('austen-llama'), out, ...args]);
    expect([found.code, found.err]).toEqual([code, expect.stringContaining(message)]);
    expect(existsSync(out)).toBe(false);
  });
});

describe('touchstone inspect', () => {
  it('describes latent attention, experts, sinks and windows', () => {
    const deepseek = output(['inspect', DEEPSEEK]);
    expect(deepseek).toContain('multi-head latent, of rank 32, causal');
    expect(deepseek).toContain('gated of 96 (1 layers), 3 of 8 experts of 32 and a shared one of 64 (2 layers), silu');
    expect(deepseek).toContain('480 bytes a token in float32'); // 3 layers x (32 + 8) x 4
    expect(deepseek).toContain('- rope interleaved: rope rotates neighbouring values');
    expect(deepseek).toContain('experts: experts are weighed by the sigmoid of each, divided by their sum');
    const oss = output(['inspect', fixture('tiny-gpt-oss-bf16')]);
    expect(oss).toContain('sliding 16 (2 layers), causal (2 layers)');
    expect(oss).toContain('clamped silu');
    expect(oss).toContain('each query head has a learned sink');
    expect(oss).toContain('a window counts the current token (sliding 16)');
    expect(oss).toContain('layers differ in what they see');
  });
});
