/** Line plots on logarithmic axes as SVG: panels in a grid, with one legend. No scripts, no fonts of its own; light and dark as its reader has it. */
import { xmlEscaped } from './escape.js';

export interface Line {
  /** One of the plot's names, which decides colour and marker. */
  readonly name: string;
  /** In ascending order of x; both above 0. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
}

export interface Plot {
  readonly title: string;
  readonly subtitle: string;
  /** The legend, in order. */
  readonly names: readonly { readonly name: string; readonly text: string; readonly dashed: boolean }[];
  /** Row by row; null leaves a place empty. Panels below each other have the same axes. */
  readonly rows: readonly (readonly (Panel | null)[])[];
  readonly xLabel: string;
  /** How numbers are written on the axes. */
  readonly xText: (x: number) => string;
  readonly yText: (y: number) => string;
}

/** Of a panel, in pixels: its lines lie within the margins. */
const PANEL = { width: 400, height: 236, left: 58, right: 16, top: 30, bottom: 42 } as const;
const [PLOT_WIDTH, PLOT_HEIGHT] = [
  PANEL.width - PANEL.left - PANEL.right,
  PANEL.height - PANEL.top - PANEL.bottom,
] as const;

export function linePlot(plot: Plot): string {
  const columns = Math.max(...plot.rows.map((row) => row.length));
  const width = columns * PANEL.width;
  const legend = legendOf(plot, width);
  const head = 62 + 20 * legend.lines;
  const height = head + plot.rows.length * PANEL.height + 6;
  const axes = Array.from({ length: columns }, (_, c) => axesOf(plot.rows.map((row) => row[c] ?? null)));
  const panels = plot.rows.flatMap((row, r) =>
    row.map((panel, c) => {
      if (!panel) return '';
      const at = `translate(${c * PANEL.width + PANEL.left} ${head + r * PANEL.height + PANEL.top})`;
      return `<g transform="${at}">\n${panelOf(panel, axes[c]!, plot)}</g>\n`;
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title">\n`,
    `<title id="title">${xmlEscaped(plot.title)}</title>\n<style>\n${STYLE}</style>\n`,
    `<rect class="page" width="${width}" height="${height}" rx="6"/>\n`,
    `<text class="heading" x="16" y="26">${xmlEscaped(plot.title)}</text>\n<text x="16" y="45">${xmlEscaped(plot.subtitle)}</text>\n`,
    legend.items,
    ...panels,
    '</svg>\n',
  ].join('');
}

/** A logarithmic axis from `low` to `high`. */
interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

const NO_AXIS: Axis = { low: 1, high: 1, ticks: [] };

/** What the panels of a column have in common: x ticks where values are, y ticks at 1, 2 and 5 times powers of ten, or at these alone. */
function axesOf(panels: readonly (Panel | null)[]): { x: Axis; y: Axis } {
  const points = panels.flatMap((panel) => panel?.lines.flatMap((line) => line.points) ?? []);
  if (points.length === 0) return { x: NO_AXIS, y: NO_AXIS };
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const [least, most] = [Math.min(...points.map(({ y }) => y)), Math.max(...points.map(({ y }) => y))];
  const steps = stepsAround(least, most);
  const powers = steps.filter((step) => step.toExponential().startsWith('1e'));
  const y = { low: steps[0]!, high: steps.at(-1)!, ticks: steps.length > 7 ? powers : steps };
  return { x: { low: xs[0]!, high: xs.at(-1)!, ticks: xs }, y };
}

/** 1, 2 and 5 times powers of ten, from the last one that is not above `least` to the first that is above `most`. */
function stepsAround(least: number, most: number): number[] {
  const steps: number[] = [];
  for (let power = Math.floor(Math.log10(least)); steps.length === 0 || steps.at(-1)! <= most; power++) {
    const scale = power < 0 ? 1 / 10 ** -power : 10 ** power; // 10 ** -3 is not 0.001
    for (const digit of [1, 2, 5]) if (steps.length === 0 || steps.at(-1)! <= most) steps.push(digit * scale);
  }
  return steps.slice(steps.findLastIndex((step) => step <= least));
}

/** Where a value stands, from 0 to 1. A single value stands in the middle. */
function placeOf(value: number, { low, high }: Axis): number {
  return low === high ? 0.5 : Math.log(value / low) / Math.log(high / low);
}

/** Marks stand clear of the axes. */
const CLEAR = 12;
const xOf = (x: number, axis: Axis) => round(CLEAR + placeOf(x, axis) * (PLOT_WIDTH - 2 * CLEAR));
const yOf = (y: number, axis: Axis) => round((1 - placeOf(y, axis)) * PLOT_HEIGHT);
const round = (pixels: number) => Math.round(pixels * 10) / 10;

function panelOf({ title, lines }: Panel, axes: { x: Axis; y: Axis }, plot: Plot): string {
  const drawn = plot.names.flatMap(({ name, dashed }, i) => {
    const line = lines.find((one) => one.name === name);
    return line && line.points.length > 0 ? [lineOf(line, i, dashed, axes, plot)] : [];
  });
  return [`<text class="title" y="-10">${xmlEscaped(title)}</text>\n`, ...gridOf(axes, plot), ...drawn].join('');
}

/** As many texts below the axis as have room. */
function gridOf({ x, y }: { x: Axis; y: Axis }, { xText, yText, xLabel }: Plot): string[] {
  const across = y.ticks.map((tick) => {
    const at = yOf(tick, y);
    return `<path class="grid" d="M0 ${at}H${PLOT_WIDTH}"/><text class="tick" text-anchor="end" x="-8" y="${at + 4}">${xmlEscaped(yText(tick))}</text>\n`;
  });
  let last = Number.NEGATIVE_INFINITY;
  const along = x.ticks.map((tick) => {
    const at = xOf(tick, x);
    const text = xmlEscaped(xText(tick));
    const fits = at - last >= 6.5 * text.length + 6;
    if (fits) last = at;
    const label = fits
      ? `<text class="tick" text-anchor="middle" x="${at}" y="${PLOT_HEIGHT + 18}">${text}</text>`
      : '';
    return `<path class="axis" d="M${at} ${PLOT_HEIGHT}v4"/>${label}\n`;
  });
  const axis = `<path class="axis" d="M0 0V${PLOT_HEIGHT}H${PLOT_WIDTH}"/>\n`;
  const name = `<text class="tick" text-anchor="middle" x="${PLOT_WIDTH / 2}" y="${PLOT_HEIGHT + 34}">${xmlEscaped(xLabel)}</text>\n`;
  return [...across, axis, ...along, name];
}

function lineOf({ name, points }: Line, index: number, dashed: boolean, { x, y }: { x: Axis; y: Axis }, plot: Plot) {
  const places = points.map((point) => [xOf(point.x, x), yOf(point.y, y)] as const);
  const path = `<path class="line${dashed ? ' dashed' : ''}" d="M${places.map((place) => place.join(' ')).join('L')}"/>`;
  const marks = points.map((point, i) => {
    const about = `${name}, ${plot.xText(point.x)}: ${plot.yText(point.y)}`;
    return `<path class="mark" d="${markAt(index, ...places[i]!)}"><title>${xmlEscaped(about)}</title></path>`;
  });
  return `<g class="s${index % COLOURS.length}" data-line="${xmlEscaped(name)}">${path}${marks.join('')}</g>\n`;
}

/** As many names side by side as have room. */
function legendOf({ names }: Plot, width: number): { items: string; lines: number } {
  let [at, line] = [16, 0];
  const items = names.map(({ text, dashed }, i) => {
    const room = 33 + 6.6 * text.length + 18;
    if (at > 16 && at + room > width) [at, line] = [16, line + 1];
    const [x, y] = [at, 64 + 20 * line];
    at += room;
    const sample = `<path class="line${dashed ? ' dashed' : ''}" d="M${round(x)} ${y}h26"/><path class="mark" d="${markAt(i, round(x + 13), y)}"/>`;
    return `<g class="s${i % COLOURS.length}">${sample}</g><text x="${round(x + 33)}" y="${y + 4}">${xmlEscaped(text)}</text>\n`;
  });
  return { items: items.join(''), lines: line + 1 };
}

/** A circle, a square, a triangle, a diamond, a triangle on its tip: colour alone does not tell lines apart. */
function markAt(index: number, x: number, y: number): string {
  const shapes = ['m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z', 'm-3-3h6v6h-6z', 'm0-4l4 7h-8z', 'm0-4.5l4 4.5l-4 4.5l-4-4.5z', 'm0 4l4-7h-8z']; // biome-ignore format: a list
  return `M${x} ${y}${shapes[index % shapes.length]}`;
}

/** Light and dark (Okabe & Ito 2008, darker and lighter where the page asks for it). */
const COLOURS = [
  ['#0072b2', '#56b4e9'],
  ['#c44f00', '#ff9e4a'],
  ['#00795a', '#2fd6a3'],
  ['#a8437f', '#f0a6cc'],
  ['#7a5f00', '#f0e442'],
] as const;

function themeOf(theme: 0 | 1): string {
  const [page, ink, faint, grid] = theme === 0 ? ['#fff', '#1f2328', '#59636e', '#e3e7eb'] : ['#0d1117', '#e6edf3', '#9198a1', '#272d35']; // biome-ignore format: a pair
  const lines = COLOURS.map((colour, i) => `.s${i} .line { stroke: ${colour[theme]}; } .s${i} .mark { fill: ${colour[theme]}; stroke: ${page}; }`); // biome-ignore format: one thought
  return `.page { fill: ${page}; } text { fill: ${ink}; } .tick { fill: ${faint}; } .grid { stroke: ${grid}; } .axis { stroke: ${faint}; }\n${lines.join('\n')}\n`;
}

const STYLE = `text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
.heading { font-size: 15px; font-weight: 600; } .title { font-weight: 600; } .tick { font-size: 11px; }
.axis, .line { fill: none; } .line { stroke-width: 2; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 4; }
${themeOf(0)}@media (prefers-color-scheme: dark) {
${themeOf(1)}}
`;
