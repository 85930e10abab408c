/** Runs a model with a mistake, and keeps what it computes. */
import { assemble, type Model } from '../../model/load.js';
import { forward } from '../../model/transformer.js';
import type { Tap } from '../../tensor/tap.js';
import { type Floats, flat, floatsLike, type Tensor, zerosLike } from '../../tensor/tensor.js';
import { inNamedForm } from '../trace/index.js';
import type { Mutation } from './mutant.js';

/** What is run. */
export interface MutantRun {
  /** [T] the tokens of their pass: prompt, and what was fed after it. */
  readonly ids: readonly number[];
  /** How many of them each pass was fed; their sum is T. */
  readonly passes: readonly number[];
  /** The points that are kept. */
  readonly keeps: (point: string) => boolean;
  /** A part of the model alone; left out: all of it. */
  readonly part?: ModelPart | undefined;
  /** Awaited after each layer. */
  readonly pause?: (() => Promise<void>) | undefined;
}

/** Layers [from, to), and what they begin with. The head is computed if the last layer is among them, or none is. */
export interface ModelPart {
  readonly from: number;
  readonly to: number;
  /** [T, D] the residual stream before layer `from`; null: from 0 on, what is embedded. */
  readonly input: Floats | null;
}

/** What a point holds, [T, width]. */
export interface Kept {
  readonly values: Floats;
  readonly width: number;
}

export interface Computed {
  readonly points: ReadonlyMap<string, Kept>;
  /** Rows before this one are not told: of tokens that were not fed. */
  readonly firstRow: number;
}

/** The same model with what of a mistake is in it: not what is in the pass (splice), what is fed, or what is saved. It computes with the reference kernel, over a cache that keeps all. */
function mutated({ config, weights, options, files }: Model, { parts, attends }: Mutation): Model {
  const changed = parts?.({ config, weights }) ?? { config, weights };
  const plain = { ...options, cache: 'contiguous', kernel: 'reference', device: 'auto' } as const;
  const model = assemble(changed.config, changed.weights, plain, files);
  if (!attends) return model;
  const layers = model.components.layers.map((layer) => attends(layer, model));
  return { ...model, components: { ...model.components, layers } };
}

/**
 * The right model is run with {}. Latent attention is run in its naive form, unless one was chosen, whose queries, keys and values are what the paper calls so.
 * @throws RequestError where the mistake makes a pass impossible
 */
export async function runMutated(given: Model, mutation: Mutation, run: MutantRun): Promise<Computed> {
  const whole = mutated(inNamedForm(given, { capture: 'all' }), mutation);
  const part = run.part ?? { from: 0, to: whole.config.layers.length, input: null };
  const model = partOf(whole, part);
  const fed = mutation.feeds?.(run.ids) ?? { ids: run.ids, first: 0 };
  const kept = new Map<string, Kept>();
  const splice = mutation.splice?.(whole);
  const cache = model.components.newCache();
  const hasHead = part.to === whole.config.layers.length;
  for (const [from, to] of passesOf(mutation, run, fed.ids.length)) {
    const tap: Tap = (name, value) => {
      const point = inWhole(name, part.from);
      if (!hasHead && !point.startsWith('layers.') && point !== 'embeddings') return value;
      if (point === 'embeddings' && part.input) {
        const input = rowsLike(value, part.input, from);
        splice?.(`layers.${part.from - 1}.output`, input, from); // which it may remember, and has changed before
        return input;
      }
      const own = splice ? splice(point, value, from) : value;
      if (run.keeps(point)) keep(kept, point, own, from - fed.first, run.ids.length);
      return own;
    };
    const logits = hasHead ? 'all' : 'last';
    await forward(model, [{ ids: fed.ids.slice(from, to), cache }], { logits, tap, pause: run.pause });
  }
  const { saves } = mutation;
  if (saves) {
    for (const [point, { values, width }] of kept) kept.set(point, { values: saves(point, values, width), width });
  }
  return { points: kept, firstRow: Math.max(0, -fed.first) };
}

/** Some of the layers as a model of its own, whose points have numbers from 0 on. */
function partOf(model: Model, { from, to }: ModelPart): Model {
  const { config, weights, components, options, files } = model;
  if (from === 0 && to === config.layers.length) return model;
  const sliced = assemble(
    { ...config, layers: config.layers.slice(from, to) },
    { ...weights, layers: weights.layers.slice(from, to) },
    options,
    files,
  );
  const layers = components.layers.slice(from, to).map((layer, index) => ({ ...layer, index }));
  return { ...sliced, components: { ...sliced.components, layers } };
}

function inWhole(point: string, from: number): string {
  return from === 0 ? point : point.replace(/^layers\.(\d+)/, (_, layer) => `layers.${Number(layer) + from}`);
}

/** Rows of [T, D] from `from` on, as many as there are in another tensor. */
function rowsLike(like: Tensor, input: Floats, from: number): Tensor {
  const rows = zerosLike(like, like.shape);
  const width = like.shape[1]!;
  rows.data.set(input.subarray(from * width, from * width + rows.data.length));
  return rows;
}

/** In one pass, unless the mistake depends on how the tokens are cut; tokens that are fed beside theirs go with the first. */
function passesOf({ byPass }: Mutation, { ids, passes }: MutantRun, fed: number): [from: number, to: number][] {
  if (!byPass) return [[0, fed]];
  const lengths = [passes[0]! + fed - ids.length, ...passes.slice(1)];
  let to = 0;
  const ends = lengths.map((length): [number, number] => {
    to += length;
    return [to - length, to];
  });
  return ends.filter(([first, end]) => end > first); // the first has none left of a single token that is not fed
}

/** @param row of theirs that the first row of the value is, of so many in all */
function keep(kept: Map<string, Kept>, point: string, value: Tensor, row: number, total: number): void {
  const values = flat(value);
  const width = values.length / value.shape[0]!;
  const own = kept.get(point) ?? { values: floatsLike(values, total * width), width };
  kept.set(point, own);
  const [skipped, rows] = [Math.max(0, -row), Math.min(value.shape[0]!, total - row)];
  if (rows > skipped) own.values.set(values.subarray(skipped * width, rows * width), (row + skipped) * width);
}
