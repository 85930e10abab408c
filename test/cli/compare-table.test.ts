import { describe, expect, it } from 'vitest';
import { comparisonText, type TextOptions } from '../../cli/compare-text.js';
import type { Comparison } from '../../src/reference/compare/comparison.js';
import { comparisonOf, measuresOf, passOf, tensorOf } from '../support/comparison.js';

const plain = (comparison: Comparison, more: Partial<TextOptions> = {}) =>
  comparisonText(comparison, { columns: 100, color: false, ...more });
const lines = (text: string) => text.trimEnd().split('\n');
const rowsOf = (text: string) => lines(text).filter((line) => line.startsWith('| ') && !/^\| (tensor|---)/.test(line));
const cellsOf = (text: string, name: string) =>
  lines(text)
    .find((line) => line.startsWith(name) && line.slice(name.length).trimStart().startsWith('│'))
    ?.split('│')[1];

const small = [
  tensorOf('embeddings', [0, 0, 0]),
  tensorOf('layers.0.attention.q', [0.5, 0.25, 0.75]),
  tensorOf('layers.0.output', [0.5, 0.25, 0.5]),
  tensorOf('layers.1.attention.q_rope', [0.5, 0.4, 4e5]),
  tensorOf('layers.1.output', [0.5, 0.25, 2e3]),
  tensorOf('logits', [0.5, 4, 60]),
];

describe('the table', () => {
  it('shows what needs a look one by one, and all else by layer', () => {
    const shown = rowsOf(plain(comparisonOf(passOf(32, 4, { tensor: 'layers.7.feed_forward.output', position: 2 }))));
    const names = shown.map((row) => row.split('|')[1]!.trim());
    expect(names.slice(0, 4)).toEqual([
      'embeddings',
      'layers.0-6 (91): 0.attention.input',
      'layers.7 (11 others): attention.input',
      'layers.7.feed_forward.output',
    ]);
    expect(names.at(-3)).toMatch(/^layers\.9-31 \(299\): /);
    expect(names.slice(-2)).toEqual(['final_norm', 'logits']);
    expect(shown.length).toBeLessThan(24);
  });

  it('shows all where that is asked, with their names where there is room', () => {
    const named = passOf(4, 4, null).map((tensor) => ({ ...tensor, theirName: `model.${tensor.name}` }));
    const text = plain(comparisonOf(named, { unknown: Array.from({ length: 40 }, (_, i) => `their.${i}`) }), { all: true, columns: 200 }); // biome-ignore format: one call
    expect(rowsOf(text)).toHaveLength(named.length);
    for (const { theirName } of named) expect(text).toContain(`| ${theirName} `);
    for (let i = 0; i < 40; i++) expect(text).toMatch(new RegExp(`their\\.${i}\\b`));
  });

  it('has numbers that are none, too', () => {
    const measures = measuresOf(1, {
      ratio: Number.NaN,
      maxAbs: Number.NaN,
      rms: Number.POSITIVE_INFINITY,
      cosine: Number.NaN,
    });
    const broken = tensorOf('logits', [0.5, Number.NaN], { verdict: 'different', measures });
    const text = plain(comparisonOf([broken]));
    expect(
      rowsOf(text)[0]!
        .split('|')
        .map((cell) => cell.trim()),
    ).toEqual(
      ['', 'logits', 'different', 'NaN', 'NaN', '3.0e-6', 'Infinity', '1.0e-7', '8', 'NaN', ''], // biome-ignore format: a row
    );
    expect(cellsOf(text, 'logits')).toBe('..@@');
  });
});

describe('the heatmap', () => {
  it('has a cell for the worst tensor of a layer at each position', () => {
    const text = plain(comparisonOf(small));
    expect(cellsOf(text, 'embeddings')).toBe('......');
    expect(cellsOf(text, 'layers.0')).toBe('......');
    expect(cellsOf(text, 'layers.1')).toBe('....%%');
    expect(cellsOf(text, 'logits')).toBe('..--++');
    expect(plain(comparisonOf(small), { columns: 400 })).toContain(
      '. 1  : 3  - 10  = 30  + 100  * 1000  # 1e4  % 1e6  @ more, or NaN.',
    );
  });

  it.each([
    [50, 2e3],
    [2e3, 50],
    [Number.NaN, 50],
    [50, Number.NaN],
    [Number.NaN, 5e7],
    [5e7, Number.NaN],
  ])('and its group show the worse of %f and %f', (one, other) => {
    const verdict = { verdict: 'different' } as const;
    const of = (name: string, ratio: number) => {
      const tensor = tensorOf(name, [ratio], { ...verdict, measures: measuresOf(ratio) });
      return { ...tensor, rows: [{ position: 0, ratio, ...verdict }] };
    };
    const text = plain(comparisonOf([of('layers.0.attention.q', one), of('layers.0.output', other)]));
    const worst = Number.isNaN(one + other) ? ['@@', 'NaN'] : ['##', '2000'];
    const [, cells, said] = lines(text)
      .find((line) => line.startsWith('layers.0 │'))!
      .split('│');
    expect([cells, said]).toEqual([worst[0], ` different    ${worst[1]}`]);
  });

  it('has a verdict that is worse before a ratio that is larger', () => {
    const far = {
      ...tensorOf('layers.0.attention.q', [9]),
      rows: [{ position: 0, ratio: 9, verdict: 'suspicious' }],
    } as const;
    const near = {
      ...tensorOf('layers.0.output', [2]),
      rows: [{ position: 0, ratio: 2, verdict: 'different' }],
    } as const;
    for (const tensors of [
      [far, near],
      [near, far],
    ])
      expect(cellsOf(plain(comparisonOf(tensors)), 'layers.0')).toBe('::');
  });

  it('puts positions together where a line has no room for them, and keeps the worst of them', () => {
    const ratios = Array.from({ length: 1000 }, (_, p) => (p === 777 ? 50 : 0.5));
    const text = plain(comparisonOf([tensorOf('embeddings', ratios)]), { columns: 80 });
    const cells = cellsOf(text, 'embeddings')!;
    expect(cells.length).toBeLessThanOrEqual(80 - 10);
    const each = Math.ceil(1000 / cells.length);
    expect(cells).toBe(`${'.'.repeat(Math.floor(777 / each))}+`.padEnd(cells.length, '.'));
    expect(text.replace(/\s+/g, ' ')).toContain(`of up to ${each} positions, in units of the noise`);
  });

  it('leaves blank what was not compared', () => {
    const half = tensorOf('layers.0.output', [0.5, 0.5, 0.5, 0.5]);
    const some = { ...half, rows: half.rows.filter(({ position }) => position % 2 === 1) };
    expect(cellsOf(plain(comparisonOf([tensorOf('embeddings', [1, 1, 1, 1]), some])), 'layers.0')).toBe('  ..  ..');
  });
});
