/** What a comparison says, in sentences that all reports share. Names come from the other side's files: each report escapes what it prints. */

import { kindOfPoint, TRACE_AXES } from '../trace/format.js';
import {
  type Bisection,
  type Comparison,
  type Parting,
  type Place,
  type Root,
  type TensorComparison,
  type TokenComparison,
  VERDICTS,
  type Verdict,
} from './comparison.js';
import { count, figures, plural, rangesText, valueTexts } from './numbers.js';

/** Nothing that a reader must look at. */
export const isGood = (verdict: Verdict) => verdict === 'identical' || verdict === 'within noise';

/** What a reader should look at first. */
export type First =
  | { readonly kind: 'value'; readonly tensor: string; readonly divergence: Parting }
  | { readonly kind: 'problem'; readonly tensor: string; readonly of: TensorComparison }
  | { readonly kind: 'tokens'; readonly tokens: TokenComparison };

/** The first tensor that differs or cannot be compared, in the order of the pass; else the tokens; null: all is well. */
export function firstOf({ first, tensors, tokens }: Comparison): First | null {
  const problem = tensors.find((tensor) => tensor.problem !== null && !isGood(tensor.verdict));
  const before = problem && (first === null || isBefore(problem, first, tensors));
  if (before) return { kind: 'problem', tensor: problem.name, of: problem };
  if (first) return { kind: 'value', tensor: first.tensor, divergence: first };
  return tokens && !isGood(tokens.verdict) ? { kind: 'tokens', tokens } : null;
}

/** A shape that differs is no reason to look away from a value that does; so it comes first only where it stands first, and is as bad. */
function isBefore(problem: TensorComparison, first: Parting, tensors: readonly TensorComparison[]): boolean {
  const at = tensors.findIndex(({ name }) => name === first.tensor);
  return tensors.indexOf(problem) < at && VERDICTS.indexOf(problem.verdict) >= VERDICTS.indexOf(first.verdict);
}

/** The verdict and its reason, in one line. */
export function verdictText(comparison: Comparison): string {
  const first = firstOf(comparison);
  return `${comparison.verdict}: ${first ? firstText(first) : passedText(comparison)}`;
}

export function firstText(first: First): string {
  switch (first.kind) {
    case 'value':
      return `first at ${divergenceText(first.divergence)}`;
    case 'problem':
      return problemText(first.of);
    case 'tokens':
      return tokensText(first.tokens);
  }
}

function passedText({ tensors, tokens }: Comparison): string {
  const parts = [
    ...(tensors.length > 0 ? [tensorsText(tensors)] : []),
    ...(tokens && tokens.compared > 0 ? [tokensText(tokens)] : []),
  ];
  return parts.length > 0 ? parts.join('; ') : 'nothing was compared, since no name of theirs is known';
}

function tensorsText(tensors: readonly TensorComparison[]): string {
  const what = plural(tensors.length, 'tensor');
  if (tensors.every(({ verdict }) => verdict === 'identical')) return `${what}, bit for bit`;
  const furthest = worstTensor(tensors);
  return `${what}, of which ${furthest.name} is furthest from ours: ${ratioText(furthest.measures?.ratio ?? 0)}`;
}

/** `3.2 x the noise`. */
export const ratioText = (ratio: number) => `${figures(ratio)} x the noise`;

/** NaN is worse than any number. */
export const ratioOrder = (ratio: number) => (Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio);

/** The tensor of the worst verdict, and among these the one that is furthest beyond its noise. @param tensors at least one */
export function worstTensor(tensors: readonly TensorComparison[]): TensorComparison {
  const rank = ({ verdict, measures }: TensorComparison) =>
    [VERDICTS.indexOf(verdict), measures ? ratioOrder(measures.ratio) : Number.POSITIVE_INFINITY] as const;
  return tensors.reduce((worst, tensor) => {
    const [[verdict, ratio], [worstVerdict, worstRatio]] = [rank(tensor), rank(worst)];
    return verdict > worstVerdict || (verdict === worstVerdict && ratio > worstRatio) ? tensor : worst;
  });
}

/** `layers.2.attention.q_rope (theirs: ...), position 5, head 3, index 7: theirs 0.1, ours 0.2, noise 1.2e-7`. */
function divergenceText(divergence: Parting): string {
  const { tensor, theirName } = divergence;
  const [theirs, ours] = valueTexts(divergence.theirs, divergence.ours);
  const at = `${namesText(tensor, theirName)}, ${placeText(tensor, divergence)}`;
  return `${at}: theirs ${theirs}, ours ${ours}, noise ${figures(divergence.noise)}`;
}

export function problemText({ name, theirName, problem }: TensorComparison): string {
  return `${namesText(name, theirName)} cannot be compared: ${problem}`;
}

function namesText(name: string, theirName: string): string {
  return name === theirName || theirName === '' ? name : `${name} (theirs: ${theirName})`;
}

/** What the numbers on an axis are numbers of, where `index` would not say it. */
const AXIS_NAMES: Readonly<Record<string, string>> = { N: 'token', E: 'expert', S: 'key', k: 'choice' };

/** `position 5, head 3, index 7`. */
function placeText(tensor: string, { position, head, index }: Place): string {
  const axes = TRACE_AXES[kindOfPoint(tensor)] ?? '';
  const rest = head !== null && index.length > 1 && index[0] === head ? index.slice(1) : index;
  const name = AXIS_NAMES[axes.at(-1) ?? ''] ?? 'index';
  const at = rest.length === 1 ? [`${name} ${rest[0]}`] : rest.length > 1 ? [`index [${rest.join(', ')}]`] : [];
  return [`position ${position}`, ...(head === null ? [] : [`head ${head}`]), ...at].join(', ');
}

/** The conclusion, where there is one; and what is around the first divergence: how far all was well, and which positions are not. */
export function aroundLines({ tensors, conclusion }: Comparison, first: First | null): string[] {
  const said = conclusion === null ? [] : [conclusion];
  if (first === null || first.kind === 'tokens') return said;
  const at = tensors.findIndex(({ name }) => name === first.tensor);
  if (at < 0) return said;
  const before = tensors.slice(0, at);
  const good = before.filter(({ verdict }) => isGood(verdict));
  const suspicious = before.filter(({ verdict }) => verdict === 'suspicious');
  const rows = tensors[at]!.rows;
  const bad = rows.filter(({ verdict }) => !isGood(verdict)).map(({ position }) => position);
  return [
    ...said,
    ...(good.length > 0
      ? [`before it: ${plural(good.length, 'tensor')} within noise, the last of them ${good.at(-1)!.name}`]
      : []),
    ...(suspicious.length > 0
      ? [`suspicious before it: ${plural(suspicious.length, 'tensor')}, the first of them ${suspicious[0]!.name}`]
      : []),
    ...(bad.length > 0
      ? [`positions: it differs at ${count(bad.length)} of ${count(rows.length)}: ${rangesText(bad)}`]
      : []),
  ];
}

/** `60 of 64 tokens are the same; first at step 12 (position 17): theirs 345, ours 12, margin 0.5, noise 1.2e-6`. */
export function tokensText({ compared, equal, first, ambiguous }: TokenComparison): string {
  const same = `${count(equal)} of ${plural(compared, 'token')} ${compared === 1 ? 'is' : 'are'} the same`;
  if (first === null) return same;
  const ids = `theirs ${first.theirs}, ours ${first.ours}`;
  const [margin, noise] = [figures(first.margin), figures(first.noise)];
  const why = first.ambiguous
    ? `ambiguous, a near tie: our margin ${margin} is no more than the noise ${noise}`
    : `margin ${margin}, noise ${noise}`;
  const ties = ambiguous > (first.ambiguous ? 1 : 0) ? `; near ties in all: ${count(ambiguous)}` : '';
  return `${same}; first at step ${first.step} (position ${first.position}): ${ids}, ${why}${ties}`;
}

/** What is wrong by itself, and what follows from it. */
export function bisectionLines(comparison: Comparison, bisection: Bisection): string[] {
  const { tensors: made, roots } = bisection;
  const first = firstOf(comparison);
  const above = first?.kind === 'value' ? first.tensor : null;
  const own = new Set(roots.map(({ tensor }) => tensor));
  const others = comparison.tensors.filter(({ name, verdict }) => !isGood(verdict) && !own.has(name));
  return [
    ...rootGroups(bisection).map((group) => rootText(group, above)),
    ...(roots.length === 0 ? [noRootText(made)] : []),
    ...followLines(roots.length, fatesOf(others, made)),
  ];
}

/** Roots of one kind: the same mistake in each layer is one. */
export function rootGroups({ roots }: Bisection): (readonly [Root, ...Root[]])[] {
  const groups = new Map<string, [Root, ...Root[]]>();
  for (const root of roots) {
    const group = groups.get(kindOfPoint(root.tensor));
    if (group) group.push(root);
    else groups.set(kindOfPoint(root.tensor), [root]);
  }
  return [...groups.values()];
}

/** @param above the tensor that was told of already */
export function rootText(group: readonly [Root, ...Root[]], above: string | null): string {
  const [root] = group;
  const text = root.tensor === above ? `${above}, as above` : divergenceText(root);
  const layers = group.map(({ layer }) => layer!);
  const more = group.length > 1 ? `; the same in layers ${rangesText(layers)}` : '';
  return `root cause: ${text}${more}${unseenText(root)}`;
}

function unseenText({ unseen }: Root): string {
  if (unseen.length === 0) return '';
  const few = unseen.slice(-3).reverse().join(', ');
  return `; or what lies before it, and is not in their dump: ${few}${unseen.length > 3 ? ` and ${count(unseen.length - 3)} more` : ''} (dump these next)`;
}

/** What becomes of tensors that are no root. */
function fatesOf(others: readonly TensorComparison[], made: readonly TensorComparison[]): Others {
  const own = new Map(made.map((tensor) => [tensor.name, tensor]));
  const found = others.map(({ name }) => own.get(name));
  const unknown = found.filter((tensor) => tensor === undefined || tensor.problem !== null).length;
  const follow = found.filter((tensor) => tensor && tensor.problem === null && isGood(tensor.verdict)).length;
  return { follow, unknown, suspicious: others.length - follow - unknown };
}

function noRootText(made: readonly TensorComparison[]): string {
  if (made.length === 0) return 'no root cause: of no tensor there is all that it is made of';
  return `no root cause: of ${plural(made.length, 'tensor')} that can be made of their own inputs none is different`;
}

/** Of the tensors that are no root: how many are right for their inputs, nearly so, or have none that are known. */
interface Others {
  readonly follow: number;
  readonly suspicious: number;
  readonly unknown: number;
}

function followLines(roots: number, { follow, suspicious, unknown }: Others): string[] {
  const from = roots === 1 ? 'it' : 'them';
  const right = `${plural(follow, 'other tensor')}, right for ${follow === 1 ? 'its' : 'their'} own inputs`;
  const all = suspicious + unknown === 0;
  return [
    ...(roots > 0 && follow > 0 ? [`${all ? 'everything else' : 'what'} follows from ${from}: ${right}`] : []),
    ...(roots > 0 && follow === 0 && all ? ['nothing else differs'] : []),
    ...(suspicious > 0 ? [`no root, and yet suspicious for their own inputs: ${plural(suspicious, 'tensor')}`] : []),
    ...(unknown > 0 ? [`cannot be told: ${plural(unknown, 'other tensor')}`] : []),
  ];
}
