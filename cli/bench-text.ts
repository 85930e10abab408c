/** What `touchstone bench cache` prints: tables in Markdown. */
import { type Bookkeeping, TIMED } from '../src/reference/bookkeeping.js';
import type { Fragmentation } from '../src/reference/fragmentation.js';
import { type Policy, PUBLISHED_PAGE, type Published } from '../src/reference/policies.js';
import { SHAREGPT, type SharedPrefixes } from '../src/reference/workload.js';
import { type Column, markdownTable } from './table.js';

export interface FragmentationRow extends Fragmentation {
  readonly kind: Policy['kind'];
  readonly name: string;
  readonly published: Published | null;
}

export interface TimesRow extends Bookkeeping {
  readonly pageSize: number;
  readonly cache: string;
}

export interface CacheBench {
  readonly workload: {
    readonly seed: number;
    readonly requests: number;
    readonly maxTokens: number;
    readonly memoryTokens: number;
    /** Means, as they were drawn and cut. */
    readonly prompt: number;
    readonly output: number;
  };
  readonly fragmentation: readonly FragmentationRow[];
  readonly shared: SharedPrefixes;
  readonly sharing: readonly FragmentationRow[];
  readonly times: readonly TimesRow[] | null;
}

export function cacheBenchText({ workload, fragmentation, shared, sharing, times }: CacheBench): string {
  const parts = [
    workloadText(workload),
    fragmentationTable(fragmentation),
    claimText(fragmentation),
    sharingText(shared, workload.maxTokens),
    sharingTable(sharing),
    ...(times ? (times.length > 0 ? [timesText(times), timesTable(times)] : [UNTIMED]) : []),
  ];
  return `${parts.join('\n\n')}\n`;
}

const UNTIMED = `Pages of more than ${TIMED.longest} tokens are not timed: no timed sequence is that long.`;

const number = (value: number) => value.toLocaleString('en-US');
const percent = (share: number, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** Names to the left, numbers to the right. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const columns = header.map((title, i): Column => ({ title, align: i === 0 ? 'left' : 'right' }));
  return markdownTable(columns, rows).trimEnd();
}

function workloadText({ seed, requests, maxTokens, memoryTokens, prompt, output }: CacheBench['workload']): string {
  const lengths = ({ mean, sigma }: { mean: number; sigma: number }) => `mean ${mean}, sigma ${sigma}`;
  return (
    `${number(requests)} requests (seed ${seed}) are served from memory of ${number(memoryTokens)} tokens. Lengths are log-normal: prompts ${lengths(SHAREGPT.prompt)}, ` +
    `answers ${lengths(SHAREGPT.output)}, cut at ${number(maxTokens)} in all; drawn: ${prompt.toFixed(0)} and ${output.toFixed(0)} on average.`
  );
}

function fragmentationTable(rows: readonly FragmentationRow[]): string {
  const header = ['memory', 'token states', 'published', 'wasted', 'reservation', 'internal', 'external'];
  const speed = ['batch', 'published', 'steps', 'fewer', 'preempted', 'recomputed'];
  return table(
    [...header, ...speed],
    rows.map((row) => [
      `${row.kind === 'pages' ? 'pages of' : 'reserve'} ${row.name}`,
      percent(row.utilisation),
      row.published ? percent(row.published.utilisation) : '',
      percent(wasted(row)),
      ...[row.toCome, row.neverUsed, row.free].map((share) => percent(share)),
      row.running.toFixed(1),
      row.published ? row.published.running.toFixed(1) : '',
      ...speedCells(row, rows[0]!),
    ]),
  );
}

/** Steps until all requests are answered, and what preemption costs. */
function speedCells(row: FragmentationRow, first: FragmentationRow): string[] {
  const again = row.fedAgain / (row.prefilled + row.decoded);
  return [number(row.steps), `${(first.steps / row.steps).toFixed(2)} x`, number(row.preemptions), percent(again)];
}

/** The claims of vLLM's announcement (June 2023) and of figure 2 of its paper, each beside what was found. */
function claimText(rows: readonly FragmentationRow[]): string {
  const reserved = rows.filter(({ kind }) => kind === 'reservation');
  const paged = rows.filter(({ kind }) => kind === 'pages');
  const list = (found: readonly FragmentationRow[], share: (row: FragmentationRow) => number) =>
    found.map((row) => `${percent(share(row))} (${row.name})`).join(', ');
  const filled = (row: Published | Fragmentation) => row.utilisation / (row.utilisation + idleOf(row));
  const comparable = reserved.filter(({ published }) => published);
  return [
    `- Claim: 60 to 80 % is wasted where room is reserved. Here: ${list(reserved, wasted)}.`,
    `- Claim: under 4 % is wasted in pages. Here under 4 %: ${list(paged.filter(isSmall), wasted) || 'none'}; not: ${list(paged.filter(not(isSmall)), wasted) || 'none'}.`,
    `- Claim: utilisation rises from about 40 % to about 95 %. Here: ${list(reserved, holding)}; in pages ${list(paged, holding)}.`,
    `- Of what is reserved, tokens take ${list(reserved, filled)}.`,
    ...(comparable.length > 0
      ? [
          `  Published: ${list(comparable, ({ published }) => filled(published!))}. The rest of the difference lies between reservations: those of figure 2 lie ` +
            'in one range of addresses, where a buddy allocator leaves holes; here each is an array of its own.',
        ]
      : []),
    '- A step makes one token for each sequence of the batch. Prompts, and what is recomputed after a preemption, come on top of the steps.',
    '- wasted = reservation (tokens of running sequences that are yet to come) + internal (the end of a reservation or a page that never holds a ' +
      'token) + external (room that the next request does not fit into): the terms of figure 2.',
  ].join('\n');
}

const holding = ({ utilisation }: Fragmentation) => utilisation;
const wasted = ({ utilisation }: Fragmentation) => 1 - utilisation;
const isSmall = (row: Fragmentation) => wasted(row) < 0.04;
const not =
  <Value>(test: (value: Value) => boolean) =>
  (value: Value) =>
    !test(value);

/** The share of memory that is taken and holds no token. */
function idleOf(row: Published | Fragmentation): number {
  return 'idle' in row ? row.idle : row.toCome + row.neverUsed;
}

function sharingText({ share, prefixes, tokens }: SharedPrefixes, maxTokens: number): string {
  return (
    `The same with ${percent(share, 0)} of the requests beginning with one of ${prefixes} system prompts of ${number(Math.min(tokens, maxTokens - 1))} tokens, ` +
    `in pages of ${PUBLISHED_PAGE}, with each way of finding the pages of earlier requests:`
  );
}

function sharingTable(rows: readonly FragmentationRow[]): string {
  return table(
    ['cache', 'prompts found', 'token states', 'batch', 'steps', 'fewer', 'preempted', 'recomputed'],
    rows.map((row) => [
      row.name,
      percent(row.adopted / (row.adopted + row.prefilled)),
      percent(row.utilisation),
      row.running.toFixed(1),
      ...speedCells(row, rows[0]!),
    ]),
  );
}

function timesText(rows: readonly TimesRow[]): string {
  const held = rows.reduce((sum, row) => sum + row.held, 0) / rows.length;
  return (
    `A model's decode steps, on this machine: ${TIMED.requests} requests (half begin with one of 2 prompts of ${TIMED.shared} tokens) from memory of ` +
    `${number(TIMED.memory)} tokens; a sequence holds ${held.toFixed(0)} on average. Block tables: taking and giving back pages, and each layer's list of blocks ` +
    'with their positions. Matching: making whole pages known. Eviction: counting idle pages, and letting go of them. Outside: all three when a ' +
    'request comes in, is fed and leaves, milliseconds a request.'
  );
}

function timesTable(rows: readonly TimesRow[]): string {
  return table(
    ['page size', 'cache', 'batch', 'step, ms', 'block tables', 'matching', 'eviction', 'evicted pages', 'outside, ms'],
    rows.map((row) => [
      String(row.pageSize),
      row.cache,
      row.running.toFixed(1),
      row.step.toFixed(1),
      ...[row.tables, row.matching, row.eviction].map((ms) => percent(ms / row.step, 2)),
      number(row.evictions),
      row.outside.toFixed(2),
    ]),
  );
}
