/** Compares one tensor of theirs with one of ours. */
import { CheckpointError } from '../../errors.js';
import type { Floats } from '../../tensor/tensor.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import { expertOrder, ordered } from '../dump/expert-order.js';
import type { FusedPart } from '../dump/fused-names.js';
import type { LayoutHints } from '../dump/layout.js';
import { isWholeNumbers, layerOfPoint } from '../trace/format.js';
import { type Aligned, align, type OurTensor, sizeOfShape } from './align.js';
import { type ComparedDtype, type TensorComparison, VERDICTS, worstOf } from './comparison.js';
import { type Chooser, gapsOf, type RouterLogits } from './experts.js';
import { floorsOf, type Size, sizeOf } from './floor.js';
import { type Measured, measure } from './measure.js';
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

/** What came of a tensor, and whether its layout is in doubt: its shape fits another one as well. */
export interface Compared {
  readonly comparison: TensorComparison;
  readonly doubtful: boolean;
}

export class Comparer {
  private readonly theirs: Dump;
  private readonly reference: Reference;
  private readonly dtype: ComparedDtype;
  private readonly end: number;
  /** Theirs of each router's choice, by our name. */
  private readonly experts: ReadonlyMap<string, Named>;
  private readonly choose: Chooser | null;

  /** @param named all of theirs that are compared @param choose our routers; null: they are not known */
  constructor(
    theirs: Dump,
    reference: Reference,
    dtype: ComparedDtype,
    named: readonly Named[],
    choose: Chooser | null = null,
  ) {
    this.theirs = theirs;
    this.reference = reference;
    this.dtype = dtype;
    this.end = commonTokens(theirs, reference);
    this.experts = new Map(named.filter(({ name }) => isWholeNumbers(name)).map((own) => [own.name, own]));
    this.choose = choose;
  }

  /** The floors of all rows of one of ours. */
  floors({ name, shape, values }: Omit<OurTensor, 'end'>): Size[] {
    const width = sizeOfShape(shape.slice(1));
    const rows = Array.from({ length: shape[0]! }, (_, r) => sizeOf(values.subarray(r * width, (r + 1) * width)));
    return floorsOf(this.reference.noise(name), rows, this.dtype);
  }

  /** Their rows in our layout and order. @throws CheckpointError if their shape holds nothing of ours */
  aligned(own: Named): Aligned {
    const aligned = this.alignedIfAny(own);
    if (typeof aligned === 'string') throw new CheckpointError(`${this.theirs.path}: ${aligned}`);
    return aligned;
  }

  /** The same; a sentence if their shape holds nothing of ours. @param settled a layout that is known, if it fits */
  alignedIfAny({ name, tensor, fused }: Named, settled?: Aligned['layout']): Aligned | string {
    const aligned = align(this.theirs, tensor, this.ours(name), this.fusedHint(name, fused), settled);
    return typeof aligned === 'string' ? aligned : this.inOrder(name, aligned);
  }

  compare({ name, alternatives, tensor, fused }: Named): Compared {
    const found = [name, ...alternatives].map((candidate) => this.compareAs(candidate, tensor, fused));
    return found.reduce((best, next) => (isBetter(next.comparison, best.comparison) ? next : best));
  }

  private compareAs(name: string, tensor: DumpTensor, fused: FusedPart | null): Compared {
    const { dtype, shape } = tensor;
    const own = { name, theirName: tensor.name, dtype, shape };
    const ours = this.ours(name);
    const aligned = align(this.theirs, tensor, ours, this.fusedHint(name, fused));
    if (typeof aligned === 'string') {
      const nothing = { layout: null, measures: null, rows: [], worst: null };
      const problem = `${aligned}${this.hint(name)}`;
      return { comparison: { ...own, ...nothing, verdict: 'different', problem }, doubtful: false };
    }
    const settled = this.inOrder(name, aligned);
    const floors = this.floors(ours);
    const pair = { ...settled, floors: settled.ourRows.map((row) => floors[row]!) };
    const measured = measure(pair, this.dtype, name === 'logits');
    const judged = isWholeNumbers(name) ? this.judgedByGaps(name, settled, measured) : measured;
    const verdict = worstOf(judged.rows.map((row) => row.verdict));
    const { layout, doubtful } = aligned;
    return { comparison: { ...own, layout, verdict, problem: null, ...judged }, doubtful };
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

  /** Experts ascending, and their weights with them; weights alone by size, in ours too. */
  private inOrder(name: string, aligned: Aligned): Aligned {
    if (!/\.router\.(experts|weights)$/.test(name)) return aligned;
    const perToken = aligned.rowShape[0]!;
    const experts = isWholeNumbers(name) ? aligned : this.chosen(name.replace(/weights$/, 'experts'));
    if (experts) return { ...aligned, theirs: ordered(aligned.theirs, expertOrder(experts.theirs, perToken)) };
    const bySize = (values: Floats) => ordered(values, expertOrder(values, perToken));
    return { ...aligned, theirs: bySize(aligned.theirs), ours: bySize(aligned.ours) };
  }

  /** What their router chose, in their order; null: they do not tell. */
  private chosen(name: string): Aligned | null {
    const own = this.experts.get(name);
    const aligned = own ? align(this.theirs, own.tensor, this.ours(name)) : null;
    return typeof aligned === 'string' ? null : aligned;
  }

  /** Another expert is a difference unless the router was near a tie. */
  private judgedByGaps(name: string, aligned: Aligned, measured: Measured): Measured {
    const point = name.replace(/experts$/, 'logits');
    const gaps = gapsOf(aligned, this.reference.points.has(point) ? this.routerLogits(point) : null, this.choose);
    const rows = measured.rows.map((row, r) => ({ ...row, ratio: gaps[r]!, verdict: verdictOf(gaps[r]!, this.dtype) }));
    return { ...measured, rows, measures: { ...measured.measures, ratio: Math.max(0, ...gaps) } };
  }

  private routerLogits(point: string): RouterLogits {
    const logits = this.reference.tensor(point);
    const noise = this.floors(logits).map(({ max }) => max);
    return { layer: layerOfPoint(point)!, values: logits.values, experts: logits.shape[1]!, noise };
  }
}

function isBetter(a: TensorComparison, b: TensorComparison): boolean {
  const [ratio, other] = [a.measures?.ratio ?? Number.POSITIVE_INFINITY, b.measures?.ratio ?? Number.POSITIVE_INFINITY];
  return VERDICTS.indexOf(a.verdict) - VERDICTS.indexOf(b.verdict) < 0 || (a.verdict === b.verdict && ratio < other);
}
