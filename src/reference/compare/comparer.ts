/** Compares one tensor of theirs with one of ours. */
import { CheckpointError } from '../../errors.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import { expertOrder, ordered } from '../dump/expert-order.js';
import type { FusedPart } from '../dump/fused-names.js';
import type { LayoutHints } from '../dump/layout.js';
import { isWholeNumbers, layerOfPoint } from '../trace/format.js';
import { type Aligned, align, type OurTensor, sizeOfShape } from './align.js';
import { type ComparedDtype, type TensorComparison, VERDICTS, worstOf } from './comparison.js';
import { gapsOf } from './experts.js';
import { floorsOf, type Size, sizeOf } from './floor.js';
import { measure } from './measure.js';
import type { Reference } from './reference.js';
import { commonTokens } from './rows.js';
import { verdictOf } from './verdict.js';

/** Their name beside ours. */
export interface Named {
  readonly name: string;
  /** Others that it may be, since their name says less than ours. */
  readonly alternatives: readonly string[];
  readonly tensor: DumpTensor;
  /** Theirs holds queries, keys and values, and ours is one of them; null: it is the whole. */
  readonly fused: FusedPart | null;
}

export class Comparer {
  private readonly theirs: Dump;
  private readonly reference: Reference;
  private readonly dtype: ComparedDtype;
  private readonly end: number;
  /** The order in which their experts of a layer stand beside ours. */
  private readonly orders = new Map<number, Int32Array>();

  constructor(theirs: Dump, reference: Reference, dtype: ComparedDtype) {
    this.theirs = theirs;
    this.reference = reference;
    this.dtype = dtype;
    this.end = commonTokens(theirs, reference);
  }

  /** The floors of all rows of one of ours. */
  floors({ name, shape, values }: Omit<OurTensor, 'end'>): Size[] {
    const width = sizeOfShape(shape.slice(1));
    const rows = Array.from({ length: shape[0]! }, (_, r) => sizeOf(values.subarray(r * width, (r + 1) * width)));
    return floorsOf(this.reference.noise(name), rows, this.dtype);
  }

  /** Their rows in our layout and order. @throws CheckpointError if their shape holds nothing of ours */
  aligned({ name, tensor, fused }: Named): Aligned {
    const aligned = align(this.theirs, tensor, this.ours(name), this.fusedHint(name, fused));
    if (typeof aligned === 'string') throw new CheckpointError(`${this.theirs.path}: ${aligned}`);
    return this.inOrder(name, aligned);
  }

  compare({ name, alternatives, tensor, fused }: Named): TensorComparison {
    const found = [name, ...alternatives].map((candidate) => this.compareAs(candidate, tensor, fused));
    return found.reduce((best, next) => (isBetter(next, best) ? next : best));
  }

  private compareAs(name: string, tensor: DumpTensor, fused: FusedPart | null): TensorComparison {
    const { dtype, shape } = tensor;
    const own = { name, theirName: tensor.name, dtype, shape };
    const ours = this.ours(name);
    const aligned = align(this.theirs, tensor, ours, this.fusedHint(name, fused));
    if (typeof aligned === 'string') {
      const nothing = { layout: null, measures: null, rows: [], worst: null };
      return { ...own, ...nothing, verdict: 'different', problem: `${aligned}${this.hint(name)}` };
    }
    const settled = this.inOrder(name, aligned);
    const floors = this.floors(ours);
    const pair = { ...settled, floors: settled.ourRows.map((row) => floors[row]!) };
    const measured = measure(pair, this.dtype, name === 'logits');
    const judged = isWholeNumbers(name) ? this.judgedByGaps(name, settled, measured) : measured;
    const verdict = worstOf(judged.rows.map((row) => row.verdict));
    return { ...own, layout: aligned.layout, verdict, problem: null, ...judged };
  }

  /** What may be behind a shape that holds nothing of ours. */
  private hint(name: string): string {
    const absorbed =
      this.reference.attention.includes('mla-naive') && /\.attention\.(q|k|v|q_rope|k_rope|heads)$/.test(name);
    return absorbed
      ? ' Where it is latent attention in its absorbed form, compare with the same (--attention mla).'
      : '';
  }

  private ours(name: string): OurTensor {
    return { ...this.reference.tensor(name), end: this.end };
  }

  private fusedHint(name: string, part: FusedPart | null): LayoutHints['fused'] {
    if (part === null) return null;
    const heads = (of: 'q' | 'k') => this.reference.tensor(name.replace(/[qkv]$/, of)).shape[1]!;
    return { part, queryHeads: heads('q'), keyValueHeads: heads('k') };
  }

  /** Experts ascending, and their weights with them. */
  private inOrder(name: string, aligned: Aligned): Aligned {
    const layer = layerOfPoint(name);
    if (layer === null || !/\.router\.(experts|weights)$/.test(name)) return aligned;
    if (isWholeNumbers(name)) this.orders.set(layer, expertOrder(aligned.theirs, aligned.rowShape[0]!));
    const order = this.orders.get(layer) ?? expertOrder(aligned.theirs, aligned.rowShape[0]!);
    if (isWholeNumbers(name)) return { ...aligned, theirs: ordered(aligned.theirs, order) };
    if (this.orders.has(layer)) return { ...aligned, theirs: ordered(aligned.theirs, order) };
    const ours = ordered(aligned.ours, expertOrder(aligned.ours, aligned.rowShape[0]!));
    return { ...aligned, theirs: ordered(aligned.theirs, order), ours }; // weights alone: by size
  }

  /** Another expert is a difference unless the router was near a tie. */
  private judgedByGaps(name: string, aligned: Aligned, measured: ReturnType<typeof measure>) {
    const point = name.replace(/experts$/, 'logits');
    const logits = this.reference.points.has(point) ? this.reference.tensor(point) : null;
    const floors = logits ? this.floors(logits) : [];
    const noise = aligned.ourRows.map((row) => floors[row]?.max ?? 0);
    const gaps = gapsOf(aligned, logits?.values ?? null, noise, logits?.shape[1] ?? 0);
    const rows = measured.rows.map((row, r) => ({ ...row, ratio: gaps[r]!, verdict: verdictOf(gaps[r]!) }));
    return { ...measured, rows, measures: { ...measured.measures, ratio: Math.max(0, ...gaps) } };
  }
}

function isBetter(a: TensorComparison, b: TensorComparison): boolean {
  const [ratio, other] = [a.measures?.ratio ?? Number.POSITIVE_INFINITY, b.measures?.ratio ?? Number.POSITIVE_INFINITY];
  return VERDICTS.indexOf(a.verdict) - VERDICTS.indexOf(b.verdict) < 0 || (a.verdict === b.verdict && ratio < other);
}
