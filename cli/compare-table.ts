/** The table of tensors on a terminal: those that need a look one by one, all others a line for each layer. */
import type { Measures, TensorComparison, Verdict } from '../src/reference/compare/comparison.js';
import { cosineText, count, figures } from '../src/reference/compare/numbers.js';
import { isGood, worstTensor } from '../src/reference/compare/words.js';
import { type Group, groupsOf } from './compare-groups.js';
import type { Paint } from './compare-paint.js';
import { printable } from './escape.js';
import { type Column, markdownTable } from './table.js';

/** More are not shown one by one, unless all are. */
const ONE_BY_ONE = 12;

interface Line {
  readonly name: string;
  readonly tensor: TensorComparison;
}

/** @param all one line for each tensor @returns lines that are no longer than `columns` characters, from 40 on */
export function tableLines(
  tensors: readonly TensorComparison[],
  { columns, all, paint }: { readonly columns: number; readonly all: boolean; readonly paint: Paint },
): string[] {
  const lines = all ? tensors.map((tensor) => ({ name: tensor.name, tensor })) : shortened(tensors);
  const text = fitted(lines, columns).trimEnd().split('\n');
  const verdicts: (Verdict | null)[] = [null, null, ...lines.map(({ tensor }) => tensor.verdict)];
  return text.map((line, i) => {
    const verdict = verdicts[i]!;
    return verdict === null || isGood(verdict) ? line : paint(verdict, line);
  });
}

function shortened(tensors: readonly TensorComparison[]): Line[] {
  const own = new Set(tensors.filter(({ verdict }) => !isGood(verdict)).slice(0, ONE_BY_ONE));
  return runsOf(groupsOf(tensors), own).flatMap(({ name, tensors: of }) => {
    const lines = of.filter((tensor) => own.has(tensor)).map((tensor) => ({ name: tensor.name, tensor }));
    const others = of.filter((tensor) => !own.has(tensor));
    if (others.length === 0) return lines;
    const line = together(name, others, lines.length > 0);
    return others[0] === of[0] ? [line, ...lines] : [...lines, line];
  });
}

/** Fewer layers that agree have a line each. */
const RUN = 4;

/** Layers of one verdict that follow each other, and have no tensor shown by itself, are one group: the heatmap has each. */
function runsOf(groups: readonly Group[], own: ReadonlySet<TensorComparison>): Group[] {
  const runs: Group[][] = [];
  const kindOf = ({ name, tensors }: Group) =>
    name.startsWith('layers.') && !tensors.some((tensor) => own.has(tensor)) ? worstTensor(tensors).verdict : null;
  for (const group of groups) {
    const last = runs.at(-1);
    const kind = kindOf(group);
    if (last && kind !== null && kindOf(last[0]!) === kind) last.push(group);
    else runs.push([group]);
  }
  return runs.flatMap((run) => {
    if (run.length < RUN) return run;
    const name = `${run[0]!.name}-${run.at(-1)!.name.slice('layers.'.length)}`;
    return [{ name, tensors: run.flatMap(({ tensors }) => tensors) }];
  });
}

/** A line for several tensors has the numbers of the worst one. */
function together(group: string, tensors: readonly TensorComparison[], others: boolean): Line {
  const tensor = worstTensor(tensors);
  if (tensors.length === 1) return { name: tensor.name, tensor };
  const which = group.includes('-') ? tensor.name.slice('layers.'.length) : tensor.name.slice(group.length + 1);
  return { name: `${group} (${count(tensors.length)}${others ? ' others' : ''}): ${which}`, tensor };
}

type Field = readonly [title: string, cell: (measures: Measures) => string];

const RATIO: Field = ['x noise', ({ ratio }) => figures(ratio)];

/** Left to right; which of them are left out first where room is short is in `LEAST`. */
const FIELDS: readonly Field[] = [
  RATIO,
  ['max abs', ({ maxAbs }) => figures(maxAbs)],
  ['max rel', ({ maxRel }) => figures(maxRel)],
  ['RMS', ({ rms }) => figures(rms)],
  ['noise', ({ noise }) => figures(noise.rms)],
  ['ULP', ({ maxUlp }) => figures(maxUlp)],
  ['cosine', ({ cosine }) => cosineText(cosine)],
];
const LEAST = ['max rel', 'cosine', 'ULP', 'noise', 'RMS', 'max abs'] as const;

/** Leaves out their names, then columns, then letters of names. */
function fitted(lines: readonly Line[], columns: number): string {
  const names = lines.map(({ name }) => printable(name));
  const differs = lines.some(({ tensor }) => tensor.name !== tensor.theirName);
  for (let left = differs ? -1 : 0; ; left++) {
    const fields = FIELDS.filter(([title]) => !LEAST.slice(0, Math.max(left, 0)).some((one) => one === title));
    const text = textOf(lines, names, fields, left < 0);
    const over = text.indexOf('\n') - columns;
    if (over <= 0) return text;
    if (left < LEAST.length) continue;
    const room = Math.max(Math.max(...names.map(({ length }) => length)) - over, 8);
    return textOf(lines, names.map((name) => shortName(name, room)), fields, false); // biome-ignore format: one call
  }
}

function textOf(lines: readonly Line[], names: readonly string[], fields: readonly Field[], theirs: boolean): string {
  const left = ['tensor', 'verdict', ...(theirs ? ['theirs'] : [])].map((title): Column => ({ title, align: 'left' }));
  const right = fields.map(([title]): Column => ({ title, align: 'right' }));
  const rows = lines.map(({ tensor: { verdict, measures, theirName } }, i) => [
    names[i]!,
    verdict,
    ...(theirs ? [printable(theirName)] : []),
    ...fields.map(([, cell]) => (measures ? cell(measures) : '-')),
  ]);
  return markdownTable([...left, ...right], rows);
}

/** The end of a name says more than its middle. */
function shortName(name: string, room: number): string {
  if (name.length <= room) return name;
  const end = Math.ceil((room - 1) / 2);
  return `${name.slice(0, room - 1 - end)}…${name.slice(name.length - end)}`;
}
