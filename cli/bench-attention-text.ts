/** What `touchstone bench attention` prints: tables in Markdown. */
import type { BenchedKernel } from '../src/reference/attention-bench/contenders.js';
import type { KernelTimes } from '../src/reference/attention-bench/entrant.js';
import type { BenchCell } from '../src/reference/attention-bench/index.js';
import type { PassKind } from '../src/reference/serving.js';
import { notesOf } from './bench-attention-notes.js';
import {
  type AttentionBench,
  ENOUGH_CALLS,
  figures,
  hasReference,
  isEmulation,
  PASSES,
  shapeText,
  timesOf,
  tokensText,
} from './bench-attention-report.js';
import { bytesText } from './bytes.js';
import { type Column, markdownTable } from './table.js';

export function attentionBenchText(bench: AttentionBench): string {
  const tables = PASSES.flatMap((kind) => {
    const cells = bench.cells.filter(({ pass }) => pass === kind);
    return cells.length > 0 ? [`${ABOUT[kind]}:`, timesTable(kind, cells, bench.kernels)] : [];
  });
  return `${[headText(bench), ...tables, ...movedParts(bench), notesOf(bench)].join('\n\n')}\n`;
}

const ABOUT: Readonly<Record<PassKind, string>> = {
  decode: 'Decode: one query at position T - 1 over T stored rows',
  prefill: 'Prefill: T queries over T rows, causal',
};

function headText({ machine, settings }: AttentionBench): string {
  const { node, system, processor, processors } = machine;
  const { cache, pageSize, dtype } = settings;
  const kept = cache === 'paged' ? `pages of ${pageSize} tokens` : 'one run';
  return (
    `Attention of one layer and one sequence, whose cache keeps rows in ${dtype}, in ${kept}. Medians of calls; kernels take turns. ` +
    `Shapes: query heads / key/value heads / head dim. Node ${node} on ${system}, ${processor}, ${processors} processors.`
  );
}

/** Decode is bound by the rows that it reads once; prefill reads a row for many queries, and is bound by arithmetic. */
const SPEED = {
  decode: { title: 'GB/s', of: ({ gbPerSecond }: KernelTimes) => gbPerSecond },
  prefill: { title: 'GFLOP/s', of: ({ gflopPerSecond }: KernelTimes) => gflopPerSecond },
} as const satisfies Record<PassKind, unknown>;

function timesTable(kind: PassKind, cells: readonly BenchCell[], kernels: readonly BenchedKernel[]): string {
  const compared = ({ name }: BenchedKernel) => name !== 'reference' && hasReference(kernels);
  const titles = kernels.flatMap((kernel) => [
    `${kernel.name}${isEmulation(kernel) ? ' (software)' : ''}, ms`,
    SPEED[kind].title,
    ...(compared(kernel) ? ['x plain'] : []),
  ]);
  const rows = cells.map((cell) => [
    shapeText(cell),
    tokensText(cell.tokens),
    ...kernels.flatMap((kernel) => timeCells(kind, timesOf(cell, kernel.name), compared(kernel))),
    fastestOf(cell),
  ]);
  return table(['shape'], ['T', ...titles], ['fastest'], rows);
}

/** Names stand to the left, numbers to the right. */
function table(
  names: readonly string[],
  numbers: readonly string[],
  after: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const columns = (titles: readonly string[], align: Column['align']) =>
    titles.map((title): Column => ({ title, align }));
  return markdownTable(
    [...columns(names, 'left'), ...columns(numbers, 'right'), ...columns(after, 'left')],
    rows,
  ).trimEnd();
}

function timeCells(kind: PassKind, times: KernelTimes | null, compared: boolean): string[] {
  if (!times) return ['-', '', ...(compared ? [''] : [])];
  const few = times.calls < ENOUGH_CALLS ? '*' : '';
  const ratio = compared ? [ratioText(times.ratio!)] : [];
  return [`${figures(times.medianMs)}${few}`, figures(SPEED[kind].of(times)), ...ratio];
}

function ratioText(ratio: number): string {
  return ratio < 0.1 ? figures(Number(ratio.toPrecision(2))) : ratio.toFixed(2);
}

/** By the ratios, which turns keep steady; '' where there is nothing to compare. */
function fastestOf({ times }: BenchCell): string {
  if (times.length < 2) return '';
  const speed = ({ ratio, medianMs }: KernelTimes) => ratio ?? 1 / medianMs;
  return times.reduce((best, one) => (speed(one) > speed(best) ? one : best)).kernel;
}

/** Bytes are the same in every call, and grow with T: the longest pass of each shape stands for all. */
function movedParts({ cells, kernels }: AttentionBench): string[] {
  const longest = cells.filter(({ shape, pass }, i) => cells[i + 1]?.shape !== shape || cells[i + 1]?.pass !== pass);
  const columns = kernels.flatMap(({ name }) =>
    (['uploaded', 'downloaded', 'staged'] as const)
      .map((way) => ({ title: `${name} ${way}`, of: (cell: BenchCell) => timesOf(cell, name)?.moved[way] }))
      .filter(({ of }) => cells.some((cell) => (of(cell) ?? 0) > 0)),
  );
  if (columns.length === 0) return [];
  const rows = longest.map((cell) => {
    const moved = columns.map(({ of }) => of(cell));
    const texts = moved.map((bytes) => (bytes === undefined ? '-' : bytesText(Math.round(bytes))));
    return [cell.pass, shapeText(cell), tokensText(cell.tokens), bytesText(cell.rowBytes), ...texts];
  });
  const titles = ['T', 'rows read', ...columns.map(({ title }) => title)];
  return ['Bytes of one call, in the longest passes:', table(['pass', 'shape'], titles, [], rows)];
}
