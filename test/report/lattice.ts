/**
 * `npm run report:lattice`: every strategy x visibility x positions x cache x kernel, run and held against what the lattice declares. Ends with
 * an error if one of them is not as declared.
 */
import { readFileSync } from 'node:fs';
import { loadModel, type Model } from '../../src/model/load.js';
import { calibrate } from '../../src/reference/calibrate.js';
import { divergenceOf } from '../../src/reference/divergence.js';
import { nameOfRule, type RunChoice, relationOf } from '../../src/reference/lattice.js';
import type { Floats } from '../../src/tensor/tensor.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import {
  CACHE_NAMES,
  distance,
  FORMS,
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

/** The trained checkpoints first: prose that they have not read; then the random ones, on tokens that mean nothing. (The trained ones of other families repeat them.) */
const RUNS = CHECKPOINTS.filter((name) => name.startsWith('tiny-') || ['austen-llama', 'austen-sinks'].includes(name))
  .sort((a, b) => Number(a.startsWith('tiny-')) - Number(b.startsWith('tiny-')))
  .map((name) => (name.startsWith('tiny-') ? { name, length: 60, window: 16 } : { name, length: 80, window: 32 }));

/** Key/value heads of prose, a latent, and windows with learned sinks. */
const FORMS_OF = ['austen-llama', 'tiny-deepseek-v3-bf16', 'tiny-gpt-oss-bf16'];

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
for (const { name, length } of RUNS.filter(({ name }) => FORMS_OF.includes(name))) {
  const model = loadModel(fixture(name));
  console.log(`\n${name}, ${length} tokens, rows kept in other forms\n`);
  row(['KV dtype', 'attention', ...CACHE_NAMES, 'against float32']);
  row(Array(3 + CACHE_NAMES.length).fill('---'));
  for (const cells of await formRows(model, idsFor(model, name, length))) row(cells);
}
console.log(`\n${reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n')}`);
console.log(
  `\nlargest reordering: ${largest.toFixed(0)} unit roundoffs of the largest logit (declared: at most 512 for each choice)`,
);
if (violations > 0) throw new Error(`${violations} runs are not what the lattice declares`);

/** For each form, the strategies that fare alike: each cache against the contiguous one, and that against float32. */
async function formRows(model: Model, ids: readonly number[]): Promise<string[][]> {
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const exact = await logitsOf(withChoice(model, plain), ids, ids.length);
  const rows = new Map<string, string[]>();
  for (const { config, named } of FORMS) {
    for (const attention of STRATEGY_NAMES.filter((name) => !refusalOf(model, { ...plain, attention: name }))) {
      const own = withChoice(model, { ...plain, attention });
      const amax = config.scale && (await calibrate(own, ids));
      const choice: RunChoice = { ...plain, attention, kvDtype: { ...config, amax } };
      const whole = await logitsOf(withChoice(model, choice), ids, ids.length);
      const { meanKl, top1 } = divergenceOf(whole, exact, model.config.vocabulary);
      const cells = [named, ...(await cachesOf(model, choice, ids, whole)), effectText(meanKl, top1)].join('|');
      rows.set(cells, [...(rows.get(cells) ?? []), attention]);
    }
  }
  return [...rows].map(([cells, names]) => [cells.split('|')[0]!, names.join(', '), ...cells.split('|').slice(1)]);
}

async function cachesOf(model: Model, choice: RunChoice, ids: readonly number[], whole: Floats): Promise<string[]> {
  const cells: string[] = [];
  for (const [i, cache] of CACHE_NAMES.entries()) {
    const own = { ...choice, cache };
    const refusal = refusalOf(model, own);
    if (refusal !== null) cells.push(numbered(refusal));
    else {
      const found = await logitsOf(withChoice(model, own), ids, cache === 'none' ? ids.length : [7, 16, 33][i % 3]!);
      cells.push(firstDifference(found, whole) < 0 ? '=' : fail());
    }
  }
  return cells;
}

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
      const choice: RunChoice = { ...textbook(rule), attention, cache, kernel };
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
  return `lossy: ${effectText(meanKl, top1)}`;
}

function effectText(meanKl: number, top1: number): string {
  return `KL ${meanKl.toPrecision(1)}, top-1 ${(100 * top1).toFixed(0)} %`;
}

function fail(): string {
  violations++;
  return 'NOT AS DECLARED';
}

function row(cells: readonly string[]): void {
  console.log(`| ${cells.join(' | ')} |`);
}
