/**
 * `npm run report:lattice`: every strategy x visibility x positions x cache x kernel, run and held against what the lattice declares. Ends with
 * an error if one of them is not as declared.
 */
import { readFileSync } from 'node:fs';
import { loadModel, type Model } from '../../src/model/load.js';
import { divergenceOf } from '../../src/reference/divergence.js';
import { nameOfRule, type RunChoice, relationOf } from '../../src/reference/lattice.js';
import type { Floats } from '../../src/tensor/tensor.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import {
  CACHE_NAMES,
  distance,
  KERNEL_NAMES,
  logitsOf,
  mustBeRefused,
  type Rule,
  refusalOf,
  rules,
  STRATEGY_NAMES,
  textbook,
  withChoice,
} from '../conformance/cases.js';
import { firstDifference } from '../support/bits.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';

/** The trained checkpoints first: prose that they have not read; then the random ones, on tokens that mean nothing. */
const RUNS = [...CHECKPOINTS]
  .sort((a, b) => Number(a.startsWith('tiny-')) - Number(b.startsWith('tiny-')))
  .map((name) => (name.startsWith('tiny-') ? { name, length: 60, window: 16 } : { name, length: 80, window: 32 }));

const reasons: string[] = [];
let violations = 0;
let largest = 0;

for (const { name, length, window } of RUNS) {
  const model = loadModel(fixture(name));
  const ids = idsFor(model, name, length);
  const chosen = rules(window, length).filter((rule) => !isRepeated(rule, model));
  console.log(`\n${name}, ${length} tokens\n`);
  row(['visibility, positions', 'attention', ...CACHE_NAMES, 'against the configured rule']);
  row(Array(3 + CACHE_NAMES.length).fill('---'));
  const refused = new Map<string, string[]>();
  for (const rule of chosen) for (const cells of await rowsOf(model, ids, rule, refused)) row(cells);
  for (const [attention, cells] of refused) row(['any', attention, ...cells, '']);
}
console.log(`\n${reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n')}`);
console.log(
  `\nlargest reordering: ${largest.toFixed(0)} unit roundoffs of the largest logit (declared: at most 512 for each choice)`,
);
if (violations > 0) throw new Error(`${violations} runs are not what the lattice declares`);

/** Held-out prose for the trained one, any tokens for the others. */
function idsFor(model: Model, name: string, length: number): number[] {
  const { vocabulary } = model.config;
  const tokenizer = loadTokenizer(fixture(name), vocabulary);
  if (!tokenizer) return Array.from({ length }, (_, i) => (i * i * 7 + 3 * i) % vocabulary);
  return tokenizer.encode(readFileSync(fixture('austen-held-out.txt'), 'utf8')).slice(0, length);
}

/** `causal` is what a model without windows is configured as. */
function isRepeated({ visibility }: Rule, { config }: Model): boolean {
  const plain = config.layers.every((layer) => layer.visibility.kind === 'causal');
  return plain && visibility !== 'auto' && visibility.kind === 'causal';
}

/** The rows of a rule: strategies that fare alike in one. Those that are refused with every cache are noted apart. */
async function rowsOf(
  model: Model,
  ids: readonly number[],
  rule: Rule,
  refused: Map<string, string[]>,
): Promise<string[][]> {
  const own = await logitsOf(
    withChoice(model, textbook({ visibility: 'auto', positions: 'absolute' })),
    ids,
    ids.length,
  );
  const exact = await logitsOf(withChoice(model, textbook(rule)), ids, ids.length);
  const rows = new Map<string, string[]>();
  for (const attention of STRATEGY_NAMES) {
    const cells = await cellsOf(model, ids, rule, attention, exact);
    if (cells.every((cell) => cell === cells[0] && cell.startsWith('('))) refused.set(attention, cells);
    else rows.set(cells.join('|'), [...(rows.get(cells.join('|')) ?? []), attention]);
  }
  const effect = effectOf(model, rule, exact, own, ids.length);
  return [...rows].map(([cells, names]) => [nameOfRule(rule), names.join(', '), ...cells.split('|'), effect]);
}

/** A cell for each cache: the reference kernel's, and flash's. */
async function cellsOf(
  model: Model,
  ids: readonly number[],
  rule: Rule,
  attention: RunChoice['attention'],
  exact: Floats,
): Promise<string[]> {
  const cells: string[] = [];
  for (const [i, cache] of CACHE_NAMES.entries()) {
    const both: string[] = [];
    for (const kernel of KERNEL_NAMES) {
      const choice: RunChoice = { attention, ...rule, cache, kernel };
      const refusal = refusalOf(model, choice);
      if ((refusal !== null) !== mustBeRefused(model.config, choice)) violations++;
      const chunk = cache === 'none' ? ids.length : [7, 16, 33][i % 3]!;
      both.push(refusal === null ? await cellOf(model, choice, ids, chunk, exact) : numbered(refusal));
    }
    cells.push([...new Set(both)].join(', '));
  }
  return cells;
}

async function cellOf(
  model: Model,
  choice: RunChoice,
  ids: readonly number[],
  chunk: number,
  exact: Floats,
): Promise<string> {
  const found = await logitsOf(withChoice(model, choice), ids, chunk);
  const relation = relationOf(choice, textbook(choice), model.config, ids.length);
  const same = firstDifference(found, exact) < 0;
  const apart = distance(found, exact);
  if (relation.kind === 'reordered') largest = Math.max(largest, apart);
  const holds = relation.kind === 'exact' ? same : relation.kind === 'reordered' && apart <= relation.bound;
  if (!holds) violations++;
  return `${holds ? '' : 'NOT AS DECLARED '}${relation.kind === 'exact' ? '=' : `≈${apart.toFixed(0)}`}`;
}

function numbered(reason: string): string {
  if (!reasons.includes(reason)) reasons.push(reason);
  return `(${reasons.indexOf(reason) + 1})`;
}

function effectOf(model: Model, rule: Rule, found: Floats, own: Floats, length: number): string {
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const relation = relationOf(textbook(rule), plain, model.config, length);
  const apart = distance(found, own);
  if (relation.kind === 'exact') return firstDifference(found, own) < 0 ? '=' : fail();
  if (relation.kind === 'reordered') return apart <= relation.bound ? `≈${apart.toFixed(0)}` : fail();
  const { meanKl, top1 } = divergenceOf(found, own, model.config.vocabulary);
  return `lossy: KL ${meanKl.toPrecision(1)}, top-1 ${(100 * top1).toFixed(0)} %`;
}

function fail(): string {
  violations++;
  return 'NOT AS DECLARED';
}

function row(cells: readonly string[]): void {
  console.log(`| ${cells.join(' | ')} |`);
}
