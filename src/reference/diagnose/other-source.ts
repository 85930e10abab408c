/** Dumps that are of another checkpoint, or of no model at all. */
import { embed } from '../../model/embedding.js';
import type { Model } from '../../model/load.js';
import { type Floats, flat } from '../../tensor/tensor.js';
import { sizeOf } from '../compare/floor.js';
import { valuesOf } from '../mutants/change.js';
import type { Conclusion } from './diagnosis.js';
import { type Evidence, WITHIN } from './evidence.js';

/** What theirs come of, and how sure that is. */
export interface OtherSource {
  readonly conclusion: Conclusion;
  /** Only the head was looked at, which mistakes may change. */
  readonly byHead: boolean;
}

/**
 * Whether theirs come of another checkpoint, or of none.
 * @returns null where they are of this one, or nothing tells
 */
export function otherSource(model: Model, evidence: readonly Evidence[]): OtherSource | null {
  const embeddings = evidence.find(({ name }) => name === 'embeddings');
  const logits = evidence.find(({ name }) => name === 'logits');
  const why = embeddings ? strangeEmbeddings(model, embeddings) : logits ? strangeHead(model, logits) : null;
  if (why === null) return null;
  const unlike = notAModel(model, evidence);
  const conclusion: Conclusion = unlike ? { kind: 'noise', why: unlike } : { kind: 'other checkpoint', why };
  return { conclusion, byHead: !embeddings };
}

/** Positions whose embeddings are looked up: each is held against every token of the vocabulary. */
const LOOKED_UP = 4;

/** Embeddings of which none is a multiple of one of ours: of another checkpoint, or of one that was trained further or quantised. */
function strangeEmbeddings({ config, weights, options }: Model, embeddings: Evidence): string | null {
  const all = Array.from({ length: config.vocabulary }, (_, id) => id);
  const rows = [...embeddings.positions.keys()].filter((row) => sizeOf(rowAt(embeddings, row)).max > 0);
  let best = Number.NEGATIVE_INFINITY;
  for (const row of rows.slice(0, LOOKED_UP)) {
    const at = new Int32Array(all.length).fill(embeddings.positions[row]!);
    const ours = flat(embed(all, at, config.embedding, weights.embedding, options.precision));
    const theirs = rowAt(embeddings, row);
    for (const id of all) {
      const own = ours.subarray(id * embeddings.width, (id + 1) * embeddings.width);
      const found = cosine(theirs, own);
      if (found > best) best = found;
      if (found > PARALLEL && isMultiple(embeddings, row, own)) return null;
    }
  }
  if (!Number.isFinite(best)) return null;
  // Positions and norms may be mistaken too, and then a row is near ours and no multiple of it.
  if (best > PARALLEL && (config.embedding.positions || config.embedding.norm)) return null;
  const what = best > PARALLEL ? 'they may be of one that was trained further, or quantised' : 'the nearest';
  return `none of their embeddings is one of this checkpoint's; ${what} (cosine ${best > 0.99 ? `1 - ${(1 - best).toExponential(1)}` : best.toFixed(2)})`;
}

const PARALLEL = 0.9;

function rowAt({ theirs, width }: Evidence, row: number): Floats {
  return theirs.subarray(row * width, (row + 1) * width);
}

/** Whether theirs is a factor times ours, as far as rounding allows. */
function isMultiple(embeddings: Evidence, row: number, ours: Floats): boolean {
  const theirs = rowAt(embeddings, row);
  let [product, size] = [0, 0];
  for (let i = 0; i < ours.length; i++) {
    product += theirs[i]! * ours[i]!;
    size += ours[i]! ** 2;
  }
  let squares = 0;
  for (let i = 0; i < ours.length; i++) squares += (theirs[i]! - (product / size) * ours[i]!) ** 2;
  return squares <= WITHIN ** 2 * embeddings.floorOf(row) ** 2 * ours.length;
}

function cosine(a: Floats, b: Floats): number {
  let [product, first, second] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    first += a[i]! ** 2;
    second += b[i]! ** 2;
  }
  return product / Math.sqrt(first * second);
}

/** Rows of logits lie in the space that the columns of the head span, whatever the hidden states are. */
function strangeHead({ config: { head, vocabulary }, weights }: Model, logits: Evidence): string | null {
  const { weight, bias } = weights.head.output;
  const spare = vocabulary - weight.columns;
  if (spare < 8 || weight.columns > 1024) return null;
  const basis = orthonormal(valuesOf(weight), vocabulary, weight.columns);
  let [outside, all] = [0, 0];
  for (let row = 0; row < logits.positions.length; row++) {
    const own = Float64Array.from(logits.theirs.subarray(row * vocabulary, (row + 1) * vocabulary), (logit, n) => {
      const uncapped = head.softcap === null ? logit : head.softcap * Math.atanh(logit / head.softcap);
      return uncapped / head.scale - (bias?.[n] ?? 0);
    });
    const size = squaresOf(own);
    if (!Number.isFinite(size)) continue;
    for (const direction of basis) takeAway(own, direction);
    outside += squaresOf(own);
    all += size;
  }
  const found = outside / all;
  if (!(found > STRANGE)) return null;
  return `their logits are not made with this checkpoint's output head: ${(100 * found).toFixed(0)} % of them lies outside of what it can make`;
}

/**
 * Of the squares. A head leaves nothing outside but rounding, whose squares are far less, in 16 bits too; another one leaves hundredths at least, though it may
 * have learned the same frequencies of tokens.
 */
const STRANGE = 2e-3;

/** The columns of [rows, columns], made orthonormal (Gram-Schmidt, twice: Giraud et al. 2005). */
function orthonormal(matrix: Float64Array, rows: number, columns: number): Float64Array[] {
  const basis: Float64Array[] = [];
  for (let c = 0; c < columns; c++) {
    const own = Float64Array.from({ length: rows }, (_, r) => matrix[r * columns + c]!);
    const before = squaresOf(own);
    for (let time = 0; time < 2; time++) for (const other of basis) takeAway(own, other);
    const size = squaresOf(own);
    if (size > 1e-20 * before) basis.push(own.map((value) => value / Math.sqrt(size)));
  }
  return basis;
}

function takeAway(own: Float64Array, direction: Float64Array): void {
  let product = 0;
  for (let i = 0; i < own.length; i++) product += own[i]! * direction[i]!;
  for (let i = 0; i < own.length; i++) own[i]! -= product * direction[i]!;
}

function squaresOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value ** 2;
  return sum;
}

/** Why theirs look like no output of a model; null: they may be one. */
function notAModel(model: Model, evidence: readonly Evidence[]): string | null {
  const broken = brokenSum(model, evidence);
  const logits = evidence.find(({ name }) => name === 'logits') ?? evidence[0]!;
  if (broken === null || !looksDrawn(logits)) return null;
  const drawn = `its rows look as if each value of ${logits.theirName} were drawn by itself (noise, or a model whose weights are random)`;
  return broken === undefined ? drawn : `${drawn}, and ${broken}`;
}

/** A residual stream that is the sum of its parts is a model's; undefined: it cannot be told. */
function brokenSum({ config }: Model, evidence: readonly Evidence[]): string | null | undefined {
  const at = (name: string) => evidence.find((own) => own.name === name)?.theirs;
  for (const [i, { feedForwardBranch: branch, parallel }] of config.layers.entries()) {
    const [before, sum] = [at(`layers.${i}.attention.residual`), at(`layers.${i}.output`)];
    const made = at(`layers.${i}.feed_forward.${branch.outputNorm ? 'output_norm' : 'output'}`);
    const lengths = new Set([before, made, sum].map((values) => values?.length));
    if (!before || !made || !sum || lengths.size > 1 || parallel || branch.sumNorm || branch.addsToNormed) continue;
    let [off, all] = [0, 0];
    for (let k = 0; k < sum.length; k++) {
      off += (before[k]! + branch.scale * made[k]! - sum[k]!) ** 2;
      all += sum[k]! ** 2;
    }
    return Math.sqrt(off / all) < 0.5 ? null : `in layer ${i} their residual stream is not the sum of its parts`;
  }
  return undefined;
}

/** Whether rows are equally large and columns have no mean of their own, as draws have that do not depend on each other. */
function looksDrawn({ theirs, width, positions }: Evidence): boolean {
  const rows = positions.length;
  if (rows < 4 || width < 16) return false;
  const all = momentsOf(theirs);
  const ofRows = Array.from({ length: rows }, (_, r) => momentsOf(theirs.subarray(r * width, (r + 1) * width)));
  const spread = momentsOf(Float64Array.from(ofRows, ({ variance }) => variance / all.variance)).variance;
  const columns = Float64Array.from({ length: width }, (_, c) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += theirs[r * width + c]!;
    return sum / rows;
  });
  const means = (momentsOf(columns).variance * rows) / all.variance; // 1 where columns are drawn alike
  // The variance of a sample's variance is (kurtosis - 1) / n; both ratios are 1 for draws.
  const rowsAlike = spread / ((all.kurtosis - 1) / width);
  return means < 1 + 5 * Math.sqrt(2 / width) && rowsAlike < 1 + 5 * Math.sqrt(2 / rows);
}

function momentsOf(values: Floats): { readonly variance: number; readonly kurtosis: number } {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let [second, fourth] = [0, 0];
  for (const value of values) {
    second += (value - mean) ** 2;
    fourth += (value - mean) ** 4;
  }
  const variance = second / values.length;
  return { variance, kurtosis: fourth / values.length / variance ** 2 };
}
