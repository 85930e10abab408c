/** What `touchstone bench cache` prints: tables in Markdown. */
import { type Bookkeeping, TIMED } from '../src/reference/bookkeeping.js';
import type { Fragmentation } from '../src/reference/fragmentation.js';
import { PUBLISHED_PAGE, type Published } from '../src/reference/policies.js';
import { SHAREGPT, type SharedPrefixes } from '../src/reference/workload.js';

export interface FragmentationRow extends Fragmentation {
  readonly name: string;
  readonly published: Published | null;
}

export interface TimesRow extends Bookkeeping {
  readonly pageSize: number;
  readonly index: string;
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
    ...(times ? [timesText(times), timesTable(times)] : []),
  ];
  return `${parts.join('\n\n')}\n`;
}

const number = (value: number) => value.toLocaleString('en-US');
const percent = (share: number, digits = 1) => `${(100 * share).toFixed(digits)} %`;

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function workloadText({ seed, requests, maxTokens, memoryTokens, prompt, output }: CacheBench['workload']): string {
  const lengths = ({ mean, sigma }: { mean: number; sigma: number }) => `mean ${mean}, sigma ${sigma}`;
  return (
    `${number(requests)} requests (seed ${seed}) are served from memory of ${number(memoryTokens)} tokens. Lengths are log-normal: prompts ${lengths(SHAREGPT.prompt)}, ` +
    `answers ${lengths(SHAREGPT.output)}, cut at ${number(maxTokens)} in all; drawn: ${prompt.toFixed(0)} and ${output.toFixed(0)} on average.`
  );
}

function fragmentationTable(rows: readonly FragmentationRow[]): string {
  const header = ['memory', 'holds tokens', 'published', 'wasted', 'yet to come', 'never used', 'free'];
  const speed = ['running', 'published', 'steps', 'speed', 'preempted', 'fed again'];
  return table(
    [...header, ...speed],
    rows.map((row) => [
      row.name,
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
  const reserved = rows.filter(({ name }) => name.startsWith('reserve '));
  const paged = rows.filter(({ name }) => name.startsWith('pages '));
  const list = (found: readonly FragmentationRow[], share: (row: FragmentationRow) => number) =>
    found.map((row) => `${percent(share(row))} (${row.name.replace(/^(reserve|pages of) /, '')})`).join(', ');
  const filled = (row: Published | Fragmentation) => row.utilisation / (row.utilisation + idleOf(row));
  const comparable = reserved.filter(({ published }) => published);
  return [
    `- Claim: 60 to 80 % is wasted where room is reserved. Here: ${list(reserved, wasted)}.`,
    `- Claim: under 4 % is wasted in pages. Here under 4 %: ${list(paged.filter(isSmall), wasted) || 'none'}; not: ${list(paged.filter(not(isSmall)), wasted) || 'none'}.`,
    `- Of what is reserved, tokens take ${list(reserved, filled)}.`,
    ...(comparable.length > 0
      ? [
          `  Published: ${list(comparable, ({ published }) => filled(published!))}. The rest of the difference lies between reservations: those of figure 2 lie ` +
            'in one range of addresses, where a buddy allocator leaves holes; here each is an array of its own.',
        ]
      : []),
    '- Steps make one token for each running sequence. Prompts, and what is fed again after a preemption, come on top of them.',
  ].join('\n');
}

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
    `in pages of ${PUBLISHED_PAGE}. Pages of earlier requests are looked for`
  );
}

function sharingTable(rows: readonly FragmentationRow[]): string {
  return table(
    ['', 'prompts found', 'holds tokens', 'running', 'steps', 'speed', 'preempted', 'fed again'],
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
    [
      'page size',
      'index',
      'running',
      'step, ms',
      'block tables',
      'matching',
      'eviction',
      'evicted pages',
      'outside, ms',
    ],
    rows.map((row) => [
      String(row.pageSize),
      row.index,
      row.running.toFixed(1),
      row.step.toFixed(1),
      ...[row.tables, row.matching, row.eviction].map((ms) => percent(ms / row.step, 2)),
      number(row.evictions),
      row.outside.toFixed(2),
    ]),
  );
}
