/** `touchstone memory`, run as a user runs it. */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MEMORY_FORMATS, type MemoryReport, memoryReport } from '../../src/reference/memory.js';
import { shapeOfFolder } from '../../src/reference/memory-shape.js';
import { PRESETS, presetOf } from '../../src/reference/presets.js';
import { copyOf } from '../support/checkpoint.js';
import { output, touchstone } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';

const memory = (...args: string[]) => output(['memory', ...args]);
const json = (...args: string[]) => JSON.parse(memory(...args, '--json')) as MemoryReport & { layers: unknown };
const BASE = ['--kv-dtype', 'bfloat16'];
const SHAPE = ['--layers', '80', '--heads', '64', '--width', '8192'];

/** The cells of the table's row that begins with this strategy. */
function cellsOf(text: string, strategy: string, table = 0): string[] {
  const rows = text.split('\n').filter((line) => line.startsWith(`| ${strategy} `));
  return rows[table]!.split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

describe('touchstone memory', () => {
  it('says that Llama 3 70B stores 327,680 bytes a token, and 343.6 GB for 8 sequences of 128k', () => {
    const text = memory('llama-3-70b', '--context', '131072', '--batch', '8', ...BASE);
    expect(cellsOf(text, 'gqa *')).toEqual([
      'gqa *',
      'bfloat16',
      '327,680',
      '1.000',
      '327,680',
      '1.000',
      '42.9 GB',
      '42.9 GB',
      '42.9 GB',
      '42.9 GB',
    ]);
    expect(cellsOf(text, 'gqa *', 1)).toEqual(['gqa *', 'bfloat16', '343.6 GB', '343.6 GB', '343.6 GB']);
    expect(cellsOf(text, 'mha')[2]).toBe('2,621,440');
    expect(text).toMatch(/gqa \* bfloat16 +│█+.* 343\.6 GB\n/);
  });

  it('says that an MHA model of 80 layers and a width of 8,192 takes 10.7 GB for 4,096 tokens', () => {
    expect(cellsOf(memory(...SHAPE, '--context', '4096', ...BASE), 'mha *')[6]).toBe('10.7 GB');
    expect(json(...SHAPE, '--context', '4096', ...BASE).rows[0]).toMatchObject({
      strategy: 'mha',
      own: true,
      sequence: { ideal: 10_737_418_240 },
    });
  });

  it('prints every figure of the library as JSON', () => {
    const options = { context: 131_072, batch: 8, memory: 640e9, pageSize: 32, maxContext: 140_000 };
    const args = [
      '--context',
      '131072',
      '--batch',
      '8',
      '--memory',
      '640GB',
      '--page-size',
      '32',
      '--max-context',
      '140000',
    ];
    const { layers, ...report } = json('gpt-oss-120b', ...args);
    expect(report).toEqual(memoryReport(presetOf('gpt-oss-120b')!, options));
    expect(layers).toMatchObject([
      { count: 18, visibility: { kind: 'sliding', window: 128 }, attention: { keyValueHeads: 8 } },
      { count: 18, visibility: { kind: 'causal' } },
    ]);
  });

  it('reads memory in decimal and binary units', () => {
    const of = (text: string) => json('llama-3-8b', '--memory', text, ...BASE).asked.memory;
    expect(['80GB', '80 gb', '80GiB', '24e9', '17000000000', '1.5TB', '20000MiB'].map(of)).toEqual([
      80e9,
      80e9,
      80 * 2 ** 30,
      24e9,
      17e9,
      1.5e12,
      20000 * 2 ** 20,
    ]);
    const text = memory('llama-3-8b', '--memory', '24GB', '--weights', '8GB', ...BASE);
    expect(text).toContain('in 24.0 GB of which 16.0 GB are left beside the weights');
    expect(cellsOf(text, 'gqa *', 1)).toEqual(['gqa *', 'bfloat16', '14', '14', '14']);
    expect(text).toContain('┊ marks the 16.0 GB that are left beside the weights');
    // a byte or nothing left: still a chart
    expect(memory('llama-3-8b', '--memory', '16060522497', ...BASE)).toMatch(/\n +1 B +10 B /);
    expect(memory('llama-3-8b', '--memory', '16060522496', ...BASE)).not.toContain('┊');
  });

  it('takes a checkpoint folder, with weights and without, and the embedded model', () => {
    const folder = copyOf('tiny-gpt-oss-bf16');
    expect(json(folder)).toMatchObject(memoryReport(shapeOfFolder(folder)));
    rmSync(join(folder, 'model.safetensors'));
    expect(json(folder).asked.weights).toBe(null);
    expect(touchstone(['memory', folder, '--memory', '1GB']).err).toContain(
      'are not known; give them (--weights BYTES, or 0)',
    );
    expect(json().rows.find(({ own, kvDtype }) => own && kvDtype === 'float32')!.bytesPerToken.stored).toBe(1536);
    expect(memory()).toContain('austen-llama: 4 layers of 8 query heads on 2 key/value heads of 24, causal');
  });

  it('takes a preset rather than a folder of its name, and a folder with a path', () => {
    const parent = copyOf('tiny-mistral-f16');
    const folder = join(parent, 'llama-3-8b');
    mkdirSync(folder);
    cpSync(fixture('tiny-mistral-f16/config.json'), join(folder, 'config.json'));
    expect(json(folder).model).toBe(folder);
    expect(json('llama-3-8b').asked.context).toBe(8192);
  });

  it('takes shapes with windows and latents by flags', () => {
    const window = json(
      '--layers',
      '36',
      '--kv-heads',
      '8',
      '--head-dim',
      '64',
      '--window',
      '128',
      '--full-layers',
      '18',
      '--context',
      '131072',
    );
    const oss = json('gpt-oss-120b');
    expect(window.rows.map(({ sequence }) => sequence)).toEqual(
      oss.rows.filter(({ strategy }) => strategy !== 'mha').map(({ sequence }) => sequence),
    );
    const latent = ['--layers', '61', '--latent-rank', '512', '--rope-dim', '64', '--context', '163840'];
    const v3 = json('deepseek-v3');
    expect(json(...latent).rows).toEqual(v3.rows.filter(({ strategy }) => strategy === 'mla'));
    expect(json(...latent, '--heads', '128', '--nope-dim', '128', '--value-dim', '128').rows).toEqual(v3.rows);
  });

  it('shows only what is asked for', () => {
    const { rows } = json(
      'llama-3-8b',
      '--attention',
      'gqa',
      '--attention',
      'mqa',
      '--kv-dtype',
      'int4 affine',
      '--kv-dtype',
      'int8',
    );
    expect(rows.map(({ strategy, kvDtype }) => `${strategy} ${kvDtype}`)).toEqual([
      'gqa int8',
      'gqa int4 affine',
      'mqa int8',
      'mqa int4 affine',
    ]);
    const text = memory('llama-3-8b', '--no-chart');
    expect(text).not.toContain('│');
    expect(text.match(/\n\| (mha|gqa \*|mqa) /g)).toHaveLength(3 * Object.keys(MEMORY_FORMATS).length);
    expect(text).toContain('no paged for int4 affine by channel: pages of 16 would cut the groups of 32 tokens');
    const grouped = memory('llama-3-70b', '--kv-group', '64', '--page-size', '32', '--attention', 'gqa');
    expect(grouped).toContain('pages of 32 would cut the groups of 64 tokens that share scales (--page-size 64)');
    expect(grouped).toMatch(/int4 affine +\| +81,920 \| +0\.250 \| +92,160 \| +0\.281/);
    expect(memory('llama-3-8b', '--page-size', '32')).not.toContain('no paged');
  });

  it('draws a bar a row on a logarithmic scale that fits the page', () => {
    const lines = memory('deepseek-v3', '--memory', '1.2TB').split('\n').slice(-23);
    const bars = lines.filter((line) => line.includes('│'));
    expect(bars).toHaveLength(20);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(100);
    expect(lines.at(-2)!.trim().split(/ {2,}/)).toEqual(['1 GB', '10 GB', '100 GB', '1 TB', '10 TB']);
    // twice the bytes are 0.301 of a power of ten further
    const axis = lines.at(-3)!;
    const decade = axis.indexOf('┴', axis.indexOf('┴') + 1) - axis.indexOf('┴');
    const lengthOf = (label: string) => bars.find((line) => line.startsWith(`${label} `))!.match(/[█▏▎▍▌▋▊▉]/g)!.length;
    expect(Math.abs(lengthOf('mla * float32') - lengthOf('mla * bfloat16') - 0.301 * decade)).toBeLessThanOrEqual(1);
  });

  it('lists the presets', () => {
    const list = JSON.parse(memory('--list', '--json')) as { name: string }[];
    expect(list.map(({ name }) => name)).toEqual(PRESETS.map(({ name }) => name));
    const text = memory('--list');
    expect(text.trim().split('\n')).toHaveLength(PRESETS.length + 2);
    expect(text).toMatch(
      /\| gemma-3-27b +\| +62 \| 32 query heads on 16 key\/value heads of 128 \| 52 sliding 1024, 10 causal \|/,
    );
  });

  it.each<[args: string[], message: string]>([
    [['llama3-70b'], 'presets written nearly like it are llama-3-70b, '],
    [['zzzz'], 'zzzz is neither a preset, a checkpoint folder, nor owner/name of the hub; --list prints all'],
    [
      ['llama-3-70b', '--layers', '3'],
      '--layers: llama-3-70b has a shape of its own; give a model, or a shape by flags',
    ],
    [['--kv-heads', '3'], '--layers is missing'],
    [['--layers', '4'], '--heads is missing'],
    [['--layers', '4', '--heads', '8'], '--head-dim is missing'],
    [['--layers', '0', '--heads', '8'], 'Expected a whole number of at least 1'],
    [['--layers', '-1'], 'Expected a whole number of at least 1'],
    [['--layers', '1.5'], 'Expected a whole number of at least 1'],
    [['--layers', '99999', '--heads', '8', '--head-dim', '8'], '--layers: expected at most 16384, got 99999'],
    [[...SHAPE, '--kv-heads', '3'], '--kv-heads: expected a number that divides the 64 query heads (--heads), got 3'],
    [[...SHAPE, '--head-dim', '3'], '--width: --head-dim says how many values a head has already'],
    [
      ['--layers', '1', '--heads', '3', '--width', '10'],
      '--width: expected a multiple of the 3 query heads (--heads), got 10',
    ],
    [['--layers', '1', '--kv-heads', '3', '--width', '12'], '--heads is missing: --width is divided'],
    [['--layers', '1', '--heads', '99999', '--head-dim', '99999'], 'a stream has at most 1048576'],
    [['--layers', '1', '--latent-rank', '8'], '--rope-dim is missing'],
    [['--layers', '1', '--rope-dim', '8'], '--latent-rank is missing'],
    [
      ['--layers', '1', '--latent-rank', '8', '--rope-dim', '8', '--kv-heads', '8'],
      '--kv-heads: goes with key/value heads',
    ],
    [
      ['--layers', '1', '--latent-rank', '8', '--rope-dim', '8', '--heads', '8'],
      '--nope-dim is missing: the expanded form',
    ],
    [[...SHAPE, '--nope-dim', '8'], '--nope-dim: goes with latent attention'],
    [[...SHAPE, '--full-layers', '8'], '--full-layers: without --window every layer sees everything'],
    [
      [...SHAPE, '--window', '8', '--full-layers', '81'],
      '--full-layers: expected at most the 80 layers (--layers), got 81',
    ],
    [SHAPE, 'has no context of its own; give the tokens of a sequence (--context)'],
    [[...SHAPE, '--context', '8', '--memory', '80GB'], 'the bytes of the weights of the given shape are not known'],
    [
      ['llama-3-70b', '--memory', '80GB'],
      'the weights of llama-3-70b take 141107412992 bytes, and the memory has 80000000000',
    ],
    [['llama-3-70b', '--memory', '80Gx'], 'Expected a number of bytes of at least 1, such as 80GB'],
    [['llama-3-70b', '--memory', '0'], 'Expected a number of bytes of at least 1'],
    [['llama-3-70b', '--weights', '-1'], 'Expected a number of bytes of at least 0'],
    [['llama-3-70b', '--max-context', '10'], 'cannot hold the context of 8192'],
    [
      ['llama-3-70b', '--attention', 'mla'],
      '--attention mla: llama-3-70b stores nothing of its own under that name (strategies that store the same are shown once); expected one of mha, gqa, mqa',
    ],
    [['llama-3-70b', '--kv-dtype', 'int3'], 'Allowed choices are float32, float16, bfloat16'],
    [['llama-3-70b', '--batch', '9007199254740991'], 'beyond what can be counted exactly (2^53)'],
    [['llama-3-70b', '--list'], '--list prints every preset and goes with --json alone'],
    [['--list', '--context', '4'], '--list prints every preset and goes with --json alone'],
  ])('%j ends with code 2 and one sentence', (args, message) => {
    const found = touchstone(['memory', ...args]);
    expect(found.err).toContain(message);
    expect(found.err).not.toContain('    at ');
    expect([found.code, found.out]).toEqual([2, '']);
  });

  it('says of a path that there is no folder', () => {
    const found = touchstone(['memory', '/nowhere/model']);
    expect([found.code, found.err]).toEqual([
      1,
      'touchstone: /nowhere/model: there is no such folder; expected a checkpoint folder, or a model of the hub as owner/name[@revision].\n',
    ]);
  });
});
