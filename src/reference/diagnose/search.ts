/**
 * Looks for the mistakes that reproduce their numbers: each alone, then in some layers, then two together; cheaply first, over the one layer in which
 * theirs and ours part.
 */
import type { Bench, Stage } from './bench.js';
import { type Hypothesis, NOTHING, together, within } from './hypothesis.js';
import { isExplained, isLater, type Score } from './score.js';

export interface Scored {
  readonly hypothesis: Hypothesis;
  readonly score: Score;
}

export interface Found {
  /** Ours as it is. */
  readonly reference: Score;
  /** Those that explain all of it, the best first. */
  readonly explained: readonly Scored[];
  /** Those that come nearest, the best first; none is farther off than ours. */
  readonly nearest: readonly Scored[];
}

export interface SearchOptions {
  /** Look for two mistakes, where one does not explain it. */
  readonly pairs: boolean;
  /** Asked before that, where no mistake moves the place where theirs and ours part: which of two mistakes one must be; null: there is no use in looking. */
  readonly among?: (() => Promise<((hypothesis: Hypothesis) => boolean) | null>) | undefined;
}

/** Pairs of mistakes that begin in one place, those first that do best alone. */
const TOGETHER = 400;

/** Those that go from a cheap look to a whole run. */
const KEPT = 10;
const FEW = 4;

export async function search(bench: Bench, hypotheses: readonly Hypothesis[], options: SearchOptions): Promise<Found> {
  const own = new Search(bench, hypotheses);
  return own.find(options);
}

class Search {
  private readonly bench: Bench;
  private readonly hypotheses: readonly Hypothesis[];
  private readonly whole = new Map<string, Scored>();

  constructor(bench: Bench, hypotheses: readonly Hypothesis[]) {
    this.bench = bench;
    this.hypotheses = hypotheses;
  }

  async find({ pairs, among }: SearchOptions): Promise<Found> {
    const reference = (await this.scored(NOTHING))!.score;
    if (reference.parts === null) return this.told(reference);
    const first = await this.singles(reference);
    if (this.explained(reference).length > 0) return this.told(reference);
    await this.inSomeLayers(reference, first);
    if (this.explained(reference).length > 0) return this.told(reference);
    const chosen = this.isMoved(reference) || !among ? () => true : await among();
    if (chosen && pairs) await this.pairs(reference, first, chosen);
    return this.told(reference);
  }

  /** Whether a mistake moves the place where theirs and ours part to another tensor. */
  private isMoved(reference: Score): boolean {
    return this.ranked().some(({ score }) => isLater(score, reference) && score.parts?.tensor !== reference.parts!.tensor); // biome-ignore format: one thought
  }

  /** Each alone. @returns those that do best where theirs and ours part first */
  private async singles(reference: Score): Promise<readonly Scored[]> {
    const coarse = await this.bestAt(this.bench.stageOf(reference), this.hypotheses, NOTHING);
    // Those that explain the part, and a few that come next: a mistake may amplify rounding.
    const whole = coarse.filter(({ score }, i) => i < FEW || isExplained(score)).slice(0, KEPT);
    for (const { hypothesis } of whole) await this.scored(hypothesis);
    await this.sharpen(reference);
    return coarse;
  }

  /** A mistake that explains the layers where theirs and ours part, and not the others: it may be in one alone, or begin there. */
  private async inSomeLayers(reference: Score, first: readonly Scored[]): Promise<void> {
    const stage = this.bench.stageOf(reference);
    const { to: layer } = stage;
    if (stage.tokens !== undefined) return this.inAnyLayer(reference, stage, first);
    if (layer >= this.bench.layers) return;
    for (const { hypothesis, score } of first.slice(0, KEPT)) {
      if (score.ratio > NEAR) continue; // nor is it noise that the mistake makes larger
      const isLast = layer === this.bench.layers - 1;
      for (const where of isLast ? [{ only: layer }] : [{ only: layer }, { from: layer }]) {
        const narrowed = within(hypothesis, where);
        if (narrowed) await this.scored(narrowed);
      }
    }
    await this.sharpen(reference);
  }

  /** Nothing of theirs tells in which layer it is: each mistake in each layer alone, those first that do best in all of them. */
  private async inAnyLayer(reference: Score, stage: Stage, first: readonly Scored[]): Promise<void> {
    const layers = Array.from({ length: this.bench.layers }, (_, layer) => layer);
    const narrowed = first.flatMap(({ hypothesis }) => layers.flatMap((only) => within(hypothesis, { only }) ?? []));
    const coarse = await this.bestAt(stage, narrowed.slice(0, TOGETHER / 2), NOTHING);
    for (const { hypothesis, score } of coarse.slice(0, FEW)) if (isExplained(score)) await this.scored(hypothesis);
    await this.sharpen(reference);
  }

  /** Two together: after one that moves the place where theirs and ours part, any other; or two that begin where they part. */
  private async pairs(reference: Score, first: readonly Scored[], among: (one: Hypothesis) => boolean): Promise<void> {
    const promising = this.ranked().filter(
      ({ score }) => score.relative < reference.relative || isLater(score, reference),
    );
    for (const { hypothesis } of promising.slice(0, KEPT)) {
      // Where it parts from theirs decides where the other mistake is looked for, so its own noise counts.
      const score = await this.bench.scoreWithNoise(hypothesis);
      if (score) await this.pairsWith(hypothesis, score, reference, among);
      if (this.explained(reference).length > 0) return;
    }
    await this.pairsThatBegin(reference, first, among);
    await this.sharpen(reference);
  }

  private async pairsWith(
    one: Hypothesis,
    score: Score,
    reference: Score,
    among: (one: Hypothesis) => boolean,
  ): Promise<void> {
    const stage = this.bench.stageOf(score);
    // Of logits alone the part is always all of it: then all pairs are tried together.
    if (stage.tokens !== undefined && score.parts?.position === reference.parts!.position) return;
    const others = this.hypotheses
      .filter(({ mutation }) => stage.from === 0 || !mutation.feeds)
      .filter((other) => among(one) || among(other));
    const coarse = await this.bestAt(stage, others.flatMap((other) => together(one, other) ?? []), one); // biome-ignore format: one thought
    for (const { hypothesis } of coarse.slice(0, 3)) await this.scored(hypothesis);
  }

  /** Two mistakes in one place hide each other: all pairs of those that change what differs first, and nothing before it. */
  private async pairsThatBegin(
    reference: Score,
    first: readonly Scored[],
    among: (one: Hypothesis) => boolean,
  ): Promise<void> {
    const stage = this.bench.stageOf(reference);
    const there: Hypothesis[] = [];
    for (const { hypothesis } of first) {
      if ((await this.bench.beginsAt(stage, hypothesis)) === reference.parts!.tensor) there.push(hypothesis);
    }
    const pairs = there
      .flatMap((a, i) => there.slice(0, i).map((b, k) => ({ a: b, b: a, rank: i + k })))
      .filter(({ a, b }) => among(a) || among(b))
      .sort((one, other) => one.rank - other.rank)
      .flatMap(({ a, b }) => together(a, b) ?? [])
      .slice(0, TOGETHER);
    const coarse = await this.bestAt(stage, pairs, NOTHING);
    for (const { hypothesis } of coarse.slice(0, KEPT)) await this.scored(hypothesis);
  }

  /** Hypotheses by how they do in a part of the model, the best first. */
  private async bestAt(
    stage: Stage,
    hypotheses: readonly Hypothesis[],
    before: Hypothesis,
  ): Promise<readonly Scored[]> {
    const all: Scored[] = [];
    this.bench.expects(hypotheses.length);
    for (const hypothesis of hypotheses) {
      if (stage.from > 0 && before === NOTHING && hypothesis.mutation.feeds) continue; // seen from the first layer on
      const score = await this.bench.scoreAt(stage, hypothesis, before);
      if (score) all.push({ hypothesis, score });
    }
    return all.sort(byScore);
  }

  private async scored(hypothesis: Hypothesis): Promise<Scored | null> {
    const known = this.whole.get(hypothesis.key);
    if (known) return known;
    const score = await this.bench.score(hypothesis);
    if (!score) return null;
    const own = { hypothesis, score };
    this.whole.set(hypothesis.key, own);
    return own;
  }

  /** Those that are near, and not within noise: a mistake may amplify rounding. */
  private async sharpen(reference: Score): Promise<void> {
    if (this.explained(reference).length > 0) return;
    for (const { hypothesis, score } of this.ranked().slice(0, 3)) {
      if (score.ratio > NEAR) continue;
      const sharper = await this.bench.scoreWithNoise(hypothesis);
      // Noise of 16 bits would explain any small error: it must be nearer than ours, and by more than half.
      if (sharper && sharper.relative < reference.relative / 2)
        this.whole.set(hypothesis.key, { hypothesis, score: sharper });
    }
  }

  private ranked(): Scored[] {
    return [...this.whole.values()].filter(({ hypothesis }) => hypothesis !== NOTHING).sort(byScore);
  }

  /** What is within noise where ours is just beyond it explains nothing: it must be nearer, and by more than half. */
  private explained(reference: Score): Scored[] {
    return this.ranked().filter(({ score }) => isExplained(score) && score.relative < reference.relative / 2);
  }

  /** Whether it is nearer than ours, and if it is more than one mistake everywhere, far nearer than any such. */
  private isWorth({ faults }: Hypothesis, { relative }: Score, reference: Score): boolean {
    const isPlain = (all: Hypothesis['faults']) => all.length === 1 && all[0]!.where === 'everywhere';
    if (isPlain(faults)) return relative < reference.relative;
    const plain = this.ranked().filter(({ hypothesis }) => isPlain(hypothesis.faults));
    return plain.every(({ score }) => relative < score.relative / 2);
  }

  private told(reference: Score): Found {
    const nearest = this.ranked().filter(({ hypothesis, score }) => this.isWorth(hypothesis, score, reference));
    return { reference, explained: this.explained(reference), nearest };
  }
}

/** A ratio beyond which no rounding explains an error. */
const NEAR = 1e6;

/** What explains all comes first; then what parts later, by whole tensors; then the smaller error. */
function byScore(a: Scored, b: Scored): number {
  const [first, second] = [isExplained(a.score), isExplained(b.score)];
  if (first !== second) return first ? -1 : 1;
  const [at, other] = [a.score.parts?.tensor ?? Number.POSITIVE_INFINITY, b.score.parts?.tensor ?? Number.POSITIVE_INFINITY]; // biome-ignore format: one thought
  if (at !== other && !first) return other - at;
  return a.score.relative - b.score.relative;
}
