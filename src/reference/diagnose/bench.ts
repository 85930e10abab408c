/** Runs hypotheses over their tokens, and scores what comes of them. */
import { RequestError, ShapeError, UsageError } from '../../errors.js';
import type { Model } from '../../model/load.js';
import type { Floats } from '../../tensor/tensor.js';
import { type Computed, type ModelPart, runMutated } from '../mutants/run.js';
import { layerOfPoint } from '../trace/format.js';
import type { Evidence } from './evidence.js';
import { type Hypothesis, NOTHING } from './hypothesis.js';
import { type Noise, type Score, scoreOf } from './score.js';

/** Computes a hypothesis; null: its pass cannot be made. */
export type Runner = (hypothesis: Hypothesis, run: RunPart) => Promise<Computed | null>;

interface RunPart {
  readonly part: ModelPart | undefined;
  /** Tells this part, its input and its tokens from others. */
  readonly partKey: string;
  /** Only so many of the tokens. */
  readonly tokens?: number | undefined;
}

export interface BenchOptions {
  readonly model: Model;
  /** The same checkpoint in the precision whose distance is the noise. */
  readonly other: () => Model;
  readonly ids: readonly number[];
  readonly passes: readonly number[];
  readonly pause?: (() => Promise<void>) | undefined;
  /** Told after each run of how many are known to come, those that were made included. */
  readonly progress?: ((runs: number, of: number) => void) | undefined;
}

/** The plain way to compute: each time anew. @param points that are kept beside the ends of layers */
export function runnerFor({ model, ids, passes, pause }: BenchOptions, points: ReadonlySet<string>): Runner {
  const keeps = (point: string) => points.has(point) || isEndOfLayer(point);
  return async ({ mutation }, { part, tokens = ids.length }) => {
    try {
      return await runMutated(model, mutation, {
        ids: ids.slice(0, tokens),
        passes: cutTo(passes, tokens),
        keeps,
        part,
        pause,
      });
    } catch (error) {
      // A mistake may ask for what cannot be: a position that no row was learned for, an id beyond the vocabulary.
      if (error instanceof RequestError || error instanceof UsageError || error instanceof ShapeError) return null;
      throw error;
    }
  };
}

/** What a part begins with, if it does not begin at the beginning. */
function isEndOfLayer(point: string): boolean {
  return /^layers\.\d+\.output$/.test(point);
}

function cutTo(passes: readonly number[], tokens: number): number[] {
  let left = tokens;
  return passes.flatMap((length) => {
    const own = Math.min(length, left);
    left -= own;
    return own > 0 ? [own] : [];
  });
}

export class Bench {
  readonly evidence: readonly Evidence[];
  readonly layers: number;
  /** The right one. */
  readonly model: Model;
  private readonly run: Runner;
  private readonly options: BenchOptions;
  /** Those that were made. */
  runs = 0;
  private expected = 0;
  private readonly ends = new Map<string, Computed>();
  private own: Promise<Computed | null> | null = null;

  constructor(evidence: readonly Evidence[], options: BenchOptions, run: Runner) {
    this.evidence = evidence;
    this.options = options;
    this.model = options.model;
    this.layers = options.model.config.layers.length;
    this.run = async (hypothesis, part) => {
      const computed = await run(hypothesis, part);
      this.runs++;
      options.progress?.(this.runs, Math.max(this.expected, this.runs));
      return computed;
    };
  }

  /** So many runs are about to be made. */
  expects(count: number): void {
    this.expected = this.runs + count;
  }

  /** Over the whole model. */
  async score(hypothesis: Hypothesis): Promise<Score | null> {
    const computed = await this.run(hypothesis, { part: undefined, partKey: 'first all' });
    return computed && scoreOf(this.evidence, computed);
  }

  /** With the noise of the mutant itself, which may amplify rounding. */
  async scoreWithNoise(hypothesis: Hypothesis): Promise<Score | null> {
    const whole = { part: undefined, partKey: 'first all' };
    const computed = await this.run(hypothesis, whole);
    if (!computed) return null;
    const points = new Set(this.evidence.map(({ name }) => name));
    const other = await runnerFor({ ...this.options, model: this.options.other() }, points)(hypothesis, whole);
    return scoreOf(this.evidence, computed, other ? noiseBetween(computed, other) : undefined);
  }

  /** The part of the model in which theirs and ours come to part: from the layer of the last tensor that agrees. */
  stageOf({ parts }: Score): Stage {
    if (parts === null) return { from: 0, to: this.layers, tokens: undefined };
    const [before, at] = [this.evidence[parts.tensor - 1], this.evidence[parts.tensor]!];
    const to = this.layerOf(at.name);
    const from = before ? this.layerOf(before.name) + (isEndOfLayer(before.name) ? 1 : 0) : 0;
    const isWhole = from === 0 && to >= this.layers - 1 && this.layers > 1;
    // A row depends on those before it alone, so a look at the first ones that differ is cheap.
    return { from: Math.min(from, this.layers - 1), to, tokens: isWhole ? Math.max(parts.position + 4, 8) : undefined };
  }

  /**
   * A part of the model alone, which begins with what a hypothesis has made before it, and of which everything before it is right: ours, or that of a
   * mistake that was found.
   */
  async scoreAt(stage: Stage, hypothesis: Hypothesis, before: Hypothesis = NOTHING): Promise<Score | null> {
    const { to } = stage;
    // Where other tokens are fed, the rows that a part could begin with are not theirs.
    const from = hypothesis.mutation.feeds ? 0 : stage.from;
    const tokens = stage.tokens !== undefined && stage.tokens < this.options.ids.length ? stage.tokens : undefined;
    const part = await this.partAt({ ...stage, from }, before);
    if (!part) return null;
    const partKey = from === 0 ? `to ${to} first ${tokens ?? 'all'}` : `layers ${from} to ${to} after ${before.key}`;
    // What depends on how tokens are cut into passes needs all of them.
    const computed = await this.run(hypothesis, {
      part,
      partKey,
      tokens: hypothesis.mutation.byPass ? undefined : tokens,
    });
    return computed && scoreOf(cut(this.evidenceAt(stage), tokens), computed, undefined, true);
  }

  /** The first tensor, of all, that a hypothesis changes within a part of the model; null: none. */
  async beginsAt(stage: Stage, hypothesis: Hypothesis): Promise<number | null> {
    const part = await this.partAt(stage, NOTHING);
    if (!part) return null;
    const key = stage.from === 0 ? `to ${stage.to} first all` : `layers ${stage.from} to ${stage.to} after `;
    const [computed, ours] = [await this.run(hypothesis, { part, partKey: key }), await this.ours()];
    if (!computed || !ours) return null;
    const evidence = this.evidence.map((own) => ourEvidence(own, ours));
    const found = scoreOf(
      evidence.filter(({ name }) => this.layerOf(name) >= stage.from && this.layerOf(name) <= stage.to),
      computed,
    ).parts;
    return found && found.tensor + this.evidence.findIndex(({ name }) => this.layerOf(name) >= stage.from);
  }

  private async ours(): Promise<Computed | null> {
    this.own ??= this.run(NOTHING, { part: undefined, partKey: 'first all' });
    return this.own;
  }

  evidenceAt({ from, to }: Stage): Evidence[] {
    return this.evidence.filter(({ name }) => this.layerOf(name) >= from && this.layerOf(name) <= to);
  }

  /** The layer that a point is computed in; what stands before all layers goes with the first, what stands after them with the head. */
  private layerOf(name: string): number {
    return name === 'embeddings' ? 0 : (layerOfPoint(name) ?? this.layers);
  }

  private async partAt({ from, to }: Stage, before: Hypothesis): Promise<ModelPart | null> {
    const end = Math.min(to + 1, this.layers);
    if (from === 0) return { from: 0, to: end, input: null };
    const whole = this.ends.get(before.key) ?? (await this.run(before, { part: undefined, partKey: 'first all' }));
    if (!whole) return null;
    if (this.ends.size > 8) this.ends.clear();
    this.ends.set(before.key, whole);
    const input = whole.points.get(`layers.${from - 1}.output`);
    return input ? { from, to: end, input: input.values } : null;
  }
}

/** Layers [from, to], the number of layers standing for the head; and the first tokens alone, where it is all of the model. */
export interface Stage {
  readonly from: number;
  readonly to: number;
  readonly tokens: number | undefined;
}

function cut(evidence: readonly Evidence[], tokens: number | undefined): readonly Evidence[] {
  if (tokens === undefined) return evidence;
  return evidence.map((own) => ({ ...own, positions: own.positions.filter((position) => position < tokens) }));
}

/** The same tensor as if theirs were ours. */
function ourEvidence(own: Evidence, ours: Computed): Evidence {
  const { values } = ours.points.get(own.name)!;
  const { width, positions } = own;
  const theirs = values.slice(0, positions.length * width);
  for (const [row, position] of positions.entries()) {
    theirs.set(values.subarray(position * width, (position + 1) * width), row * width);
  }
  return { ...own, theirs };
}

/**
 * Of each row [T]: how far two runs lie apart, as root mean square; of no row less than of all, since a number of 16 bits that was rounded the other way in one row
 * of ours may be so in another one of theirs.
 */
function noiseBetween(one: Computed, other: Computed): Noise {
  const noise = new Map<string, Float64Array>();
  for (const [name, { values, width }] of one.points) {
    const others = other.points.get(name)?.values;
    if (others) noise.set(name, distances(values, others, width));
  }
  return noise;
}

function distances(values: Floats, others: Floats, width: number): Float64Array {
  const rows = Float64Array.from({ length: values.length / width }, (_, row) => {
    let squares = 0;
    for (let i = row * width; i < (row + 1) * width; i++) squares += (values[i]! - others[i]!) ** 2;
    return Number.isFinite(squares) ? Math.sqrt(squares / width) : 0;
  });
  const all = Math.sqrt(rows.reduce((sum, own) => sum + own ** 2, 0) / Math.max(rows.length, 1));
  return rows.map((own) => Math.max(own, all));
}
