/** The tables of the HTML report. */
import { type Measures, type TensorComparison, VERDICTS, type Verdict } from '../src/reference/compare/comparison.js';
import { cosineText, figures } from '../src/reference/compare/numbers.js';
import { isGood, ratioOrder } from '../src/reference/compare/words.js';
import { xmlEscaped } from './escape.js';

const FIELDS: readonly (readonly [
  title: string,
  of: (measures: Measures) => number,
  text?: (value: number) => string,
])[] = [
  ['max abs', ({ maxAbs }) => maxAbs],
  ['max rel', ({ maxRel }) => maxRel],
  ['RMS', ({ rms }) => rms],
  ['noise RMS', ({ noise }) => noise.rms],
  ['ULP', ({ maxUlp }) => maxUlp],
  ['cosine', ({ cosine }) => cosine, cosineText],
];

/** A row for each tensor; a class `good` for those that need no look. */
export function tensorTable(tensors: readonly TensorComparison[]): string {
  const widest = tensors.length === 0 ? 0 : barLength(worstRatio(tensors));
  const heads = ['tensor', 'verdict', 'x noise', ...FIELDS.map(([title]) => title), 'theirs', 'dtype', 'shape'];
  const left = new Set(['tensor', 'verdict', 'x noise', 'theirs', 'dtype', 'shape']);
  const head = heads.map((title) => `<th${left.has(title) ? ' class="left"' : ''} scope="col">${title}</th>`).join('');
  const rows = tensors.map((tensor) => rowOf(tensor, widest));
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${rows.join('')}</tbody>\n</table>\n`;
}

function worstRatio(tensors: readonly TensorComparison[]): number {
  let most = 0;
  for (const { measures } of tensors)
    if (measures && Number.isFinite(measures.ratio)) most = Math.max(most, measures.ratio);
  return most;
}

function rowOf(tensor: TensorComparison, widest: number): string {
  const { name, verdict, measures, theirName, dtype, shape, layout, problem } = tensor;
  const numbers = FIELDS.map(([, of, text = figures]) => numberCell(measures && of(measures), text));
  const about = layout === null ? shape.join(' x ') : `${shape.join(' x ')} (${layout})`;
  return [
    `<tr${isGood(verdict) ? ' class="good"' : ''}>`,
    `<td class="name" title="${xmlEscaped(problem ?? name)}">${xmlEscaped(name)}</td>`,
    `<td class="left" data-v="${VERDICTS.indexOf(verdict)}"><span class="word ${classOf(verdict)}">${verdict}</span></td>`,
    ratioCell(tensor, widest),
    ...numbers,
    ...[theirName, dtype, about].map(
      (text, i) => `<td class="${i === 0 ? 'name left' : 'left'}">${xmlEscaped(text)}</td>`,
    ),
    '</tr>\n',
  ].join('');
}

/** NaN is sorted beside Infinity. */
function numberCell(value: number | null, text: (value: number) => string): string {
  if (value === null) return '<td class="number" data-v="-1">-</td>';
  return `<td class="number" data-v="${ratioOrder(value)}">${text(value)}</td>`;
}

function ratioCell({ measures, verdict }: TensorComparison, widest: number): string {
  if (measures === null) return '<td class="bars number" data-v="Infinity">-</td>';
  const length = Number.isFinite(measures.ratio) ? barLength(measures.ratio) : widest;
  const width = Math.round((90 * length) / Math.max(widest, 1));
  return `<td class="bars number ${classOf(verdict)}" data-v="${ratioOrder(measures.ratio)}"><span class="bar" style="width: ${width}px"></span>${figures(measures.ratio)}</td>`;
}

/** Of a bar on a logarithmic scale, which begins at a tenth of the noise. */
const barLength = (ratio: number) => Math.max(Math.log10(Math.max(ratio, 1e-300)) + 1, 0);

export function badge(verdict: Verdict): string {
  return `<span class="badge ${classOf(verdict)}">${verdict}</span>`;
}

export const classOf = (verdict: Verdict) => `is-${verdict === 'within noise' ? 'noise' : verdict}`;
