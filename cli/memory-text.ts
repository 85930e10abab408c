/** How `touchstone memory` says what it found. */
import type { StrategyName } from '../attention/strategy/index.js';
import { visibilityOf } from '../attention/visibility/index.js';
import { bytesAt16Bit, type MemoryFigures, type MemoryReport, type MemoryRow } from '../src/reference/memory.js';
import { type AttentionShape, layerGroups, type MemoryShape } from '../src/reference/memory-shape.js';
import { PRESETS, type Preset } from '../src/reference/presets.js';
import { bytesText, powerText } from './bytes.js';
import { type Column, logChart, markdownTable } from './table.js';

const number = (value: number) => value.toLocaleString('en-US');
const plural = (count: number, what: string) => `${number(count)} ${what}${count === 1 ? '' : 's'}`;
const title = (text: string, align: Column['align'] = 'right'): Column => ({ title: text, align });

/** @param width of the chart in characters; null: no chart */
export function memoryText(shape: MemoryShape, report: MemoryReport, width: number | null): string {
  const { batch, memory } = report.asked;
  const tables = [
    tableOf(report, sequenceCells(report)),
    ...(batch > 1 || memory !== null ? [tableOf(report, batchCells(report))] : []),
  ];
  const notes = notesOf(report).map((note) => `- ${note}\n`);
  const chart = width === null ? [] : [chartOf(report, width)];
  return [headerOf(shape, report), ...tables, notes.join(''), ...chart].join('\n');
}

function headerOf(shape: MemoryShape, { asked }: MemoryReport): string {
  const { context, batch, memory, weights } = asked;
  const layers = layerGroups(shape).map(({ count, attention, visibility }) => {
    return `${plural(count, 'layer')} of ${attentionText(attention)}, ${visibilityOf(visibility).name}`;
  });
  const facts = [
    ...layers,
    ...(shape.context === null ? [] : [`made for ${number(shape.context)} tokens`]),
    ...(weights === null ? [] : [`weights of ${bytesText(weights)}`]),
  ];
  const beside =
    memory === null
      ? ''
      : `, in ${bytesText(memory)} of which ${bytesText(memory - weights!)} are left beside the weights`;
  return `${shape.name}: ${facts.join('; ')}\n${plural(batch, 'sequence')} of ${plural(context, 'token')}${beside}\n`;
}

function attentionText(of: AttentionShape): string {
  if (of.kind === 'latent') return `a latent of ${of.latentRank} and a rope key of ${of.ropeDim}`;
  const keyValue = `${plural(of.keyValueHeads, 'key/value head')} of ${of.headDim}`;
  return of.queryHeads === undefined ? keyValue : `${plural(of.queryHeads, 'query head')} on ${keyValue}`;
}

/** A column with what it says of a row. */
type Cells = readonly [column: Column, cell: (row: MemoryRow) => string];

function tableOf({ rows }: MemoryReport, cells: readonly Cells[]): string {
  const columns: Cells[] = [
    [title('attention', 'left'), ({ strategy, own }) => (own ? `${strategy} *` : strategy)],
    [title('KV dtype', 'left'), ({ kvDtype }) => kvDtype],
    ...cells,
  ];
  return markdownTable(
    columns.map(([column]) => column),
    rows.map((row) => columns.map(([, cell]) => cell(row))),
  );
}

/** A token, and one sequence. */
function sequenceCells({ rows }: MemoryReport): Cells[] {
  const shown = FIGURES.filter((of) => rows.some(({ sequence }) => sequence[of] !== null));
  return [
    [title('bytes a token'), ({ bytesPerToken }) => exact(bytesPerToken.values)],
    [title('x 16 bit'), ({ ratio }) => ratio.values.toFixed(3)],
    [title('with scales'), ({ bytesPerToken }) => exact(bytesPerToken.stored)],
    [title('so x 16 bit'), ({ ratio }) => ratio.stored.toFixed(3)],
    ...shown.map((of): Cells => [title(of), ({ sequence }) => bytesCell(sequence[of])]),
  ];
}

const FIGURES: readonly (keyof MemoryFigures)[] = ['ideal', 'contiguous', 'paged', 'preallocated', 'ring'];

/** The batch, and the largest one. */
function batchCells({ rows, asked: { batch, memory } }: MemoryReport): Cells[] {
  const shown = FIGURES.filter((of) => of !== 'contiguous' && rows.some(({ sequence }) => sequence[of] !== null));
  const all = shown.map((of): Cells => [title(`batch of ${number(batch)}: ${of}`), (row) => bytesCell(row.batch[of])]);
  const most = shown.map(
    (of): Cells => [title(`largest batch: ${of}`), ({ largestBatch }) => countCell(largestBatch?.[of])],
  );
  return memory === null ? all : [...(batch === 1 ? [] : all), ...most];
}

const bytesCell = (bytes: number | null) => (bytes === null ? '-' : bytesText(bytes));
const countCell = (count: number | null | undefined) => (typeof count === 'number' ? number(count) : '-');

/** Bytes a token are not whole where several share a scale. */
function exact(bytes: number): string {
  return bytes.toLocaleString('en-US', { maximumFractionDigits: 3 });
}

function notesOf({ rows, asked }: MemoryReport): string[] {
  const { context, memory } = asked;
  const waiting = rows.find(({ residual }) => residual > 0);
  const notes: [boolean, string][] = [
    [true, 'bytes a token: in all layers, the values alone, then with scales and minima.'],
    [true, 'x 16 bit: as a part of bfloat16.'],
    [true, 'ideal: what one sequence must keep, the rows that its last token reads and their scales.'],
    [true, allocationNote(rows, asked)],
    [
      rows.some(({ kvDtype }) => kvDtype.startsWith('fp8')),
      'fp8: static scales, where there are any, take 4 bytes for each head of a stream and layer, once for the model; they are not counted here.',
    ],
    [
      waiting !== undefined,
      `${waiting?.kvDtype} (KIVI): the newest tokens wait in float32, 4 bytes a value, until ${waiting?.residual} are there. ` +
        `After ${number(context)} tokens ${number(context % (waiting?.residual ?? 1))} wait, which ideal counts; caches have room for ${waiting?.residual}.`,
    ],
    [memory !== null, 'largest batch: of such sequences, that fits beside the weights.'],
  ];
  const applying = notes.filter(([applies]) => applies).map(([, note]) => note);
  return [...strategyNotes(rows), ...applying, ...unpaged(rows, asked)];
}

/** What a strategy's figures mean for a model that has another one. */
const IF_ANOTHER: Readonly<Record<StrategyName, string>> = {
  mha: 'what it would store if every query head had a key and a value of its own',
  gqa: 'what it would store with its key/value heads',
  mqa: 'what it would store with one key/value head, which would be another model (touchstone convert)',
  mla: 'what it would store with its latent alone',
  'mla-naive': 'keys and values expanded for every head',
};

function strategyNotes(rows: readonly MemoryRow[]): string[] {
  const others = new Set(rows.filter(({ own }) => !own).map(({ strategy }) => strategy));
  return [
    ...(rows.some(({ own }) => own) ? ['*: as the model is.'] : []),
    ...[...others].map((strategy) => `${strategy}: ${IF_ANOTHER[strategy]}.`),
  ];
}

function allocationNote(rows: readonly MemoryRow[], { pageSize, maxContext }: MemoryReport['asked']): string {
  const ring = rows.some(({ sequence }) => sequence.ring !== null);
  return (
    `The others are what a cache allocates that is fed token by token: contiguous doubles, paged takes pages of ${number(pageSize)}, ` +
    `preallocated ${plural(maxContext, 'token')} at once` +
    `${ring ? ', ring its windows and the row of a pass (layers without a window are contiguous)' : ''}.`
  );
}

/** Why there is a dash under paged. */
function unpaged(rows: readonly MemoryRow[], { pageSize, kvGroup }: MemoryReport['asked']): string[] {
  const forms = new Set(rows.filter(({ refused }) => refused.paged).map(({ kvDtype }) => kvDtype));
  return [...forms].map(
    (kvDtype) =>
      `no paged for ${kvDtype}: pages of ${number(pageSize)} would cut the groups of ${kvGroup} tokens that share scales (--page-size ${kvGroup}).`,
  );
}

function chartOf({ rows, asked }: MemoryReport, width: number): string {
  const { batch, context, memory, weights } = asked;
  const bars = rows.map(({ strategy, own, kvDtype, batch: { ideal } }) => {
    return { label: `${strategy}${own ? ' *' : ''} ${kvDtype}`, value: ideal!, text: bytesText(ideal!) };
  });
  const free = memory === null ? 0 : memory - weights!;
  const mark = free > 0 ? `\n┊ marks the ${bytesText(free)} that are left beside the weights` : '';
  const what = `${plural(batch, 'sequence')} of ${plural(context, 'token')}: ideal bytes on a logarithmic scale${mark}`;
  return `${what}\n\n${logChart({ bars, powerText, mark: free > 0 ? free : null, width })}`;
}

/** Every preset with its shape. */
export function presetsText(): string {
  const columns: [Column, (preset: Preset) => string][] = [
    [title('preset', 'left'), ({ name }) => name],
    [title('layers'), ({ layers }) => number(layers.length)],
    [title('attention', 'left'), ({ layers }) => attentionText(layers[0]!.attention)],
    [title('sees', 'left'), rulesText],
    [title('context'), ({ context }) => number(context)],
    [title('parameters'), ({ parameters }) => number(parameters)],
    [title('weights'), ({ weights, dtype }) => `${bytesText(weights)} ${dtype}`],
    [title('16-bit bytes a token'), (preset) => exact(bytesAt16Bit(preset))],
    [title('source', 'left'), ({ source }) => source],
  ];
  return markdownTable(
    columns.map(([column]) => column),
    PRESETS.map((preset) => columns.map(([, cell]) => cell(preset))),
  );
}

function rulesText(preset: Preset): string {
  const groups = layerGroups(preset).map(({ visibility, count }) => [visibilityOf(visibility).name, count] as const);
  return groups.length === 1 ? groups[0]![0] : groups.map(([name, count]) => `${count} ${name}`).join(', ');
}
