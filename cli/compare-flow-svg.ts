/** Differences and the noise floor along the flow of data, as SVG on a logarithmic scale. */
import type { Comparison, TensorComparison } from '../src/reference/compare/comparison.js';
import { figures } from '../src/reference/compare/numbers.js';
import { firstOf } from '../src/reference/compare/words.js';
import { groupsOf } from './compare-groups.js';
import { xmlEscaped } from './escape.js';

const WIDTH = 960;
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 12, 18, 34];
/** Of the scale itself: zeros lie below it, NaN and Infinity above. */
const HEIGHT = 230;
const BAND = 26;

interface Series {
  readonly kind: 'difference' | 'floor' | 'made';
  readonly text: string;
  readonly of: (tensor: TensorComparison) => number | null;
}

/** @returns an svg element; '' if nothing was measured */
export function flowSvg(comparison: Comparison): string {
  const { tensors } = comparison;
  const series = seriesOf(comparison);
  const values = tensors.flatMap((tensor) => series.map(({ of }) => of(tensor)));
  if (values.every((value) => value === null)) return '';
  const axis = axisOf(values.filter((value): value is number => value !== null && value > 0 && Number.isFinite(value)));
  const step = (WIDTH - LEFT - RIGHT) / Math.max(tensors.length, 1);
  const x = (i: number) => round(LEFT + (i + 0.5) * step);
  const drawn = series.map((one) => seriesSvg(one, tensors, x, (value) => yOf(value, axis)));
  const height = TOP + BAND + HEIGHT + BAND + BOTTOM;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="RMS of the difference and of the noise, by tensor">\n`,
    gridSvg(axis, values),
    layersSvg(tensors, step),
    firstSvg(comparison, x),
    ...drawn,
    '</svg>\n',
  ].join('');
}

export function seriesOf({ bisection }: Comparison): Series[] {
  const made = new Map(bisection?.tensors.map((tensor) => [tensor.name, tensor.measures?.rms ?? null]));
  return [
    { kind: 'floor', text: 'what rounding alone does (noise)', of: ({ measures }) => measures?.noise.rms ?? null },
    { kind: 'difference', text: 'RMS of the difference', of: ({ measures }) => measures?.rms ?? null },
    ...(bisection
      ? [{ kind: 'made', text: 'the same, made from their own inputs', of: ({ name }: TensorComparison) => made.get(name) ?? null } as const] // biome-ignore format: one thought
      : []),
  ];
}

interface Axis {
  /** Exponents of ten. */
  readonly low: number;
  readonly high: number;
}

function axisOf(values: readonly number[]): Axis {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  if (most === 0) return { low: -8, high: 0 };
  const low = Math.floor(Math.log10(least));
  return { low, high: Math.max(Math.ceil(Math.log10(most)), low + 1) };
}

function yOf(value: number, { low, high }: Axis): number {
  if (!Number.isFinite(value)) return TOP + BAND / 2;
  if (value === 0) return TOP + BAND + HEIGHT + BAND / 2;
  return round(TOP + BAND + HEIGHT * (1 - (Math.log10(value) - low) / (high - low)));
}

/** A line through the tensors that were measured, and a mark with its number at each. */
function seriesSvg(
  { kind, text, of }: Series,
  tensors: readonly TensorComparison[],
  x: (i: number) => number,
  y: (value: number) => number,
): string {
  const points = tensors.flatMap((tensor, i) => {
    const value = of(tensor);
    return value === null ? [] : [{ name: tensor.name, value, at: `${x(i)} ${y(value)}` }];
  });
  const line = kind === 'made' ? '' : `<path class="line" d="M${points.map(({ at }) => at).join('L')}"/>`;
  const r = tensors.length > 150 ? 1.4 : 2.5;
  const dot = `m-${r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0-${2 * r} 0z`;
  const marks = points.map(({ name, value, at }) => {
    const title = xmlEscaped(`${name}: ${text} ${figures(value)}`);
    return `<path class="mark" d="M${at}${dot}"><title>${title}</title></path>`;
  });
  return points.length === 0 ? '' : `<g class="${kind}">${line}${marks.join('')}</g>\n`;
}

function gridSvg(axis: Axis, values: readonly (number | null)[]): string {
  const every = Math.ceil((axis.high - axis.low) / 8);
  const across = (y: number, text: string) =>
    `<path class="grid" d="M${LEFT} ${y}H${WIDTH - RIGHT}"/><text class="tick" text-anchor="end" x="${LEFT - 8}" y="${y + 4}">${text}</text>\n`;
  const ticks: string[] = [];
  for (let power = axis.low; power <= axis.high; power += every)
    ticks.push(across(yOf(10 ** power, axis), `1e${power}`));
  const isAt = (test: (value: number) => boolean) => values.some((value) => value !== null && test(value));
  return [
    ...ticks,
    isAt((value) => value === 0) ? across(yOf(0, axis), '0') : '',
    isAt((value) => !Number.isFinite(value)) ? across(yOf(Number.NaN, axis), 'NaN, ∞') : '',
  ].join('');
}

/** Names of layers below the axis, as many as have room. */
function layersSvg(tensors: readonly TensorComparison[], step: number): string {
  const bottom = TOP + BAND + HEIGHT + BAND;
  let [at, end] = [0, Number.NEGATIVE_INFINITY];
  const layers = groupsOf(tensors).map(({ name, tensors: of }) => {
    const [from, middle] = [round(LEFT + at * step), LEFT + (at + of.length / 2) * step];
    at += of.length;
    const text = name.replace(/^layers\./, 'layer ').slice(0, 24);
    const half = 3.3 * text.length;
    const fits = middle - half >= end && middle + half <= WIDTH;
    if (fits) end = middle + half + 8;
    const label = fits ? `<text class="tick" text-anchor="middle" x="${round(middle)}" y="${bottom + 18}">${xmlEscaped(text)}</text>` : ''; // biome-ignore format: one thought
    return `<path class="axis" d="M${from} ${bottom}v5"/>${label}\n`;
  });
  return `<path class="axis" d="M${LEFT} ${TOP}V${bottom}H${WIDTH - RIGHT}"/>\n${layers.join('')}`;
}

function firstSvg(comparison: Comparison, x: (i: number) => number): string {
  const first = firstOf(comparison);
  if (first === null || first.kind === 'tokens') return '';
  const at = x(comparison.tensors.findIndex(({ name }) => name === first.tensor));
  const anchor = at > WIDTH - 300 ? 'end' : 'start';
  const text = `<text class="tick" text-anchor="${anchor}" x="${at}" y="12">first: ${xmlEscaped(first.tensor)}</text>`;
  return `<path class="first" d="M${at} ${TOP}V${TOP + 2 * BAND + HEIGHT}"/>${text}\n`;
}

const round = (pixels: number) => Math.round(pixels * 10) / 10;
