import { describe, expect, it } from 'vitest';
import { comparisonHtml } from '../../cli/compare-html.js';
import type { Comparison } from '../../src/reference/compare/comparison.js';
import { comparisonOf, divergenceOf, measuresOf, passOf, problemOf, tensorOf } from '../support/comparison.js';
import { type Tag, tagsOf } from '../support/xml.js';

/** The page's tags, which close each other; its style and script, which are not XML, left out. */
function read(comparison: Comparison): { html: string; tags: Tag[] } {
  const html = comparisonHtml(comparison);
  expect(html.startsWith('<!doctype html>\n')).toBe(true);
  const rest = html.slice('<!doctype html>\n'.length).replace(/(<style>)[\s\S]*?(<\/style>)/, '$1$2');
  return { html, tags: tagsOf(rest.replace(/(<script>)[\s\S]*(<\/script>)/, '$1$2')) };
}

const textsOf = (tags: readonly Tag[], name: string) => tags.filter((tag) => tag.name === name).map(({ text }) => text);
const classes = (tags: readonly Tag[], of: string) => tags.filter(({ attributes }) => attributes.class?.split(' ').includes(of)); // biome-ignore format: one thought
const heights = (path: string) => [...path.matchAll(/[ML][\d.-]+ ([\d.-]+)/g)].map(([, y]) => Number(y));

/** Attributes that draw, with what nothing can be drawn of. */
const BROKEN = /(?:[dxy]|width|height|viewBox|style|transform)="[^"]*(?:NaN|Infinity|undefined)/;

const wrong = passOf(4, 9, { tensor: 'layers.2.attention.q_rope', position: 5 });
const root = divergenceOf(wrong.find(({ verdict }) => verdict === 'different')!);

describe('the HTML of a comparison', () => {
  it('has the verdict, root causes, tokens, both plots, a row for each tensor, and notes', () => {
    const tokens = { compared: 4, equal: 4, verdict: 'identical', first: null, ambiguous: 0 } as const;
    const { tags } = read(
      comparisonOf(wrong, { tokens, bisection: { tensors: passOf(4, 9, null), roots: [root] }, notes: ['a note'] }),
    );
    expect(textsOf(tags, 'h2')).toEqual(
      ['Root causes', 'Tokens', 'By tensor and position', 'Along the flow of data', 'Tensors', 'Notes'], // biome-ignore format: a list
    );
    expect(textsOf(tags, 'p')[0]).toMatch(/^ ?first at layers\.2\.attention\.q_rope, position 5, /);
    expect(textsOf(tags, 'li')).toContain(
      'everything else follows from it: 23 other tensors, right for their own inputs',
    );
    expect(textsOf(tags, 'li')).toContain('a note');
    expect(textsOf(tags, 'tr')).toHaveLength(wrong.length + 1);
    expect(tags.filter(({ attributes }) => attributes.role === 'img')).toHaveLength(2);
  });

  it('leaves out what there is nothing to say of', () => {
    expect(textsOf(read(comparisonOf([])).tags, 'h2')).toEqual([]);
  });

  it('shows cells that look alike as one, with its positions and the worst of them', () => {
    const { tags } = read(comparisonOf([tensorOf('embeddings', [0.5, 0.5, 20, 25, 5e7])]));
    const cells = tags.filter(({ name, attributes }) => name === 'rect' && attributes.x !== undefined);
    const titles = textsOf(tags, 'title').filter((text) => text.startsWith('embeddings, position'));
    expect(titles).toEqual([
      'embeddings, positions 0-1: within noise, up to 0.5 x the noise, at 0',
      'embeddings, positions 2-3: different, up to 25 x the noise, at 3',
      'embeddings, position 4: different, 5.0e7 x the noise',
    ]);
    expect(cells.map(({ attributes }) => attributes.class)).toEqual(
      ['cell noise', 'cell different level3', 'cell different level8'], // biome-ignore format: a list
    );
    expect(cells.map(({ attributes }) => attributes.x)).toEqual(['0', '72', '144']);
  });

  it('shows cells of two verdicts as two', () => {
    const rows = [{ position: 0, ratio: 5, verdict: 'suspicious' }, { position: 1, ratio: 5, verdict: 'different' }] as const; // biome-ignore format: two rows
    const { tags } = read(comparisonOf([{ ...tensorOf('embeddings', [5, 5]), rows }]));
    const cells = tags.filter(({ name, attributes }) => name === 'rect' && attributes.x !== undefined);
    expect(cells.map(({ attributes }) => attributes.class)).toEqual([
      'cell suspicious level2',
      'cell different level2',
    ]);
  });

  it('draws differences and the noise on a logarithmic scale, zeros below it and NaN above', () => {
    const of = (rms: number) => measuresOf(1, { rms, noise: { rms: 1e-6, max: 1e-5 } });
    const rms = [1e-6, 1e-5, 1e-4, 0, Number.NaN, Number.POSITIVE_INFINITY];
    const { html, tags } = read(comparisonOf(rms.map((value, i) => tensorOf(`layers.${i}.output`, [1], { measures: of(value) })))); // biome-ignore format: one call
    const drawn = tags
      .filter(({ attributes }) => attributes.class === 'line')
      .map(({ attributes }) => heights(attributes.d!));
    const difference = drawn.find((line) => line.length === rms.length && new Set(line).size > 1)!;
    const floor = drawn.find((line) => line.length === rms.length && new Set(line).size === 1)!;
    const [one, ten, hundred, zero, nan, infinity] = difference as [number, number, number, number, number, number];
    expect(floor[0]).toBe(one);
    expect(one - ten).toBeCloseTo(ten - hundred, 0);
    expect(ten).toBeLessThan(one);
    expect(zero).toBeGreaterThan(one);
    expect(nan).toBeLessThan(hundred);
    expect(infinity).toBe(nan);
    expect(textsOf(tags, 'text')).toEqual(expect.arrayContaining(['0', 'NaN, ∞', '1e-6', '1e-5', '1e-4']));
    expect(html).not.toMatch(BROKEN);
  });

  it('draws beside it what is made from their own inputs', () => {
    const { tags } = read(comparisonOf(wrong, { bisection: { tensors: passOf(4, 9, null), roots: [root] } }));
    expect(textsOf(tags, 'title').filter((text) => text.includes('made from their own inputs'))).toHaveLength(
      wrong.length,
    );
    expect(classes(tags, 'first')).toHaveLength(1);
  });

  it('bears nothing to draw', () => {
    const problem = problemOf('layers.0.attention.v', 'expected 3 x 8, got 3 x 7');
    const { html, tags } = read(comparisonOf([problem]));
    expect(tags.filter(({ attributes }) => attributes.role === 'img')).toEqual([]);
    expect(html).toContain('layers.0.attention.v cannot be compared: expected 3 x 8, got 3 x 7');
    const none = measuresOf(0, { rms: 0, noise: { rms: 0, max: 0 }, cosine: Number.NaN, maxRel: Number.NaN });
    expect(read(comparisonOf([tensorOf('logits', [0], { measures: none })])).html).not.toMatch(BROKEN);
  });

  it('gives each tensor a bar as long as the logarithm of its ratio, and NaN the longest', () => {
    const nan = tensorOf('logits', [0.5], { verdict: 'different', measures: measuresOf(Number.NaN) });
    const { tags } = read(comparisonOf([tensorOf('a', [0]), tensorOf('b', [1]), tensorOf('c', [10]), tensorOf('d', [100]), nan])); // biome-ignore format: one call
    const widths = classes(tags, 'bar').map(({ attributes }) => attributes.style);
    expect(widths).toEqual(['width: 0px', 'width: 30px', 'width: 60px', 'width: 90px', 'width: 90px']);
  });

  it('escapes every name and text of theirs', () => {
    const evil = '<script>alert("1")</script>&\u0007';
    const tensor = tensorOf(evil, [20], { theirName: evil, dtype: evil, layout: evil });
    const problem = { ...problemOf(`${evil}2`, evil), theirName: evil };
    const { html, tags } = read(
      comparisonOf([tensor, problem], { theirs: evil, ours: evil, unknown: [evil], missing: [evil], notes: [evil] }),
    );
    expect(html.match(/<script/g)).toHaveLength(1); // its own
    expect(textsOf(tags, 'td')).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;');
  });

  it('needs nothing else, follows its reader from light to dark, and lets no other script run', () => {
    const { html, tags } = read(comparisonOf(wrong));
    expect(html).not.toMatch(/https?:|url\(|@import|href|src=/);
    expect(html).toContain('@media (prefers-color-scheme: dark)');
    const policy = tags.find(({ attributes }) => attributes.content?.startsWith('default-src'))!.attributes.content!;
    expect(policy).toMatch(/^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='$/);
  });

  it('stays small where there are many layers and positions', () => {
    const html = comparisonHtml(comparisonOf(passOf(32, 2048, { tensor: 'layers.20.output', position: 1000 })));
    expect(html.length).toBeLessThan(1e6);
  });
});
