import { describe, expect, it } from 'vitest';
import { linePlot, type Panel, type Plot } from '../../cli/line-plot.js';
import { tagsOf } from '../support/xml.js';

const panel = (title: string, lines: Readonly<Record<string, readonly (readonly [number, number])[]>>): Panel => ({
  title,
  lines: Object.entries(lines).map(([name, points]) => ({ name, points: points.map(([x, y]) => ({ x, y })) })),
});

function plot(rows: Plot['rows'], names = ['one', 'two']): Plot {
  return {
    title: 'Time',
    subtitle: 'of something',
    names: names.map((name) => ({ name, text: `the ${name}`, dashed: name === 'two' })),
    rows,
    xLabel: 'T',
    xText: String,
    yText: (y) => `${y} ms`,
  };
}

const drawn = (svg: string) =>
  tagsOf(svg).flatMap(({ attributes }) => (attributes['data-line'] ? [attributes['data-line']] : []));
const texts = (svg: string, kind: string) =>
  tagsOf(svg).flatMap((tag) => (tag.attributes.class === kind ? [tag.text] : []));

describe('linePlot', () => {
  const rows = [
    [panel('a', { one: [[128, 1], [256, 10]], two: [[128, 2], [256, 30]] }), panel('b', { one: [[64, 5]] })], // biome-ignore format: points
    [panel('c', { two: [[128, 400]] }), null], // biome-ignore format: points
  ];

  it('draws a line for each name in each panel that has it, and a legend', () => {
    const svg = linePlot(plot(rows));
    expect(drawn(svg)).toEqual(['one', 'two', 'one', 'two']);
    expect(texts(svg, 'title')).toEqual(['a', 'b', 'c']);
    for (const text of ['Time', 'of something', 'the one', 'the two']) expect(svg).toContain(`>${text}</text>`);
    const lines = tagsOf(svg).filter(({ attributes }) => attributes.class?.startsWith('line'));
    expect(lines.filter(({ attributes }) => attributes.class === 'line dashed')).toHaveLength(3); // two panels and the legend
    expect(lines.filter(({ attributes }) => attributes.class === 'line')).toHaveLength(3);
  });

  it('writes texts and numbers of points on axes that panels below each other share', () => {
    const ticks = texts(linePlot(plot(rows)), 'tick');
    const [first, ...others] = ['1 ms', '10 ms', '100 ms', '128', '256', 'T'];
    expect(ticks.slice(0, 6)).toEqual([first, ...others]);
    expect(ticks.filter((text) => text === '100 ms')).toHaveLength(2);
  });

  it('places logarithms of values: as far from 1 to 10 as from 10 to 100', () => {
    const svg = linePlot(plot([[panel('a', { one: [[10, 1], [100, 10], [1000, 100]] })]])); // biome-ignore format: points
    const path = tagsOf(svg).find(({ attributes }) => attributes.class === 'line' && attributes.d!.includes('L'))!;
    const places = path.attributes.d!.slice(1).split('L').map((place) => place.split(' ').map(Number)); // biome-ignore format: one thought
    expect(places).toHaveLength(3);
    for (const axis of [0, 1]) {
      expect(places[1]![axis]! - places[0]![axis]!).toBeCloseTo(places[2]![axis]! - places[1]![axis]!, 0);
    }
    expect(places[2]![0]).toBeGreaterThan(places[0]![0]!);
    expect(places[2]![1]).toBeLessThan(places[0]![1]!); // y grows downwards in SVG
  });

  it('escapes what others may have named', () => {
    const svg = linePlot({ ...plot([[panel('a & b <c>', { '"x"': [[1, 1]] })]], ['"x"']), title: 'T\u0007 < 1' });
    expect(drawn(svg)).toEqual(['&quot;x&quot;']);
    expect(svg).toContain('>a &amp; b &lt;c&gt;</text>');
    expect(svg).toContain('>T &lt; 1</text>');
  });

  it('has an empty panel where nothing was measured, and a single point in the middle', () => {
    const svg = linePlot(plot([[panel('a', { one: [] })], [panel('b', {})]]));
    expect(drawn(svg)).toEqual([]);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    expect(linePlot(plot([[panel('a', { one: [[7, 1e-3]] })]]))).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('depends on nothing outside, and follows its reader from light to dark', () => {
    const svg = linePlot(plot(rows));
    expect(svg).toContain('@media (prefers-color-scheme: dark)');
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|<script|url\(|@import|href/);
  });
});
