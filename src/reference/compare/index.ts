/** Holds what another implementation computed against ours, tensor by tensor in the order of the data's flow. */
import type { ModelConfig } from '../../model/config.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import { matchNames } from '../dump/names.js';
import { isWholeNumbers, layerOfPoint } from '../trace/format.js';
import { type Aligned, align, type OurTensor, sizeOfShape } from './align.js';
import {
  type ComparedDtype,
  type Comparison,
  type Parting,
  type TensorComparison,
  VERDICTS,
  worstOf,
} from './comparison.js';
import { dtypeOfDump, dtypeOfValues } from './dtype.js';
import { gapsOf, orderOf, reordered } from './experts.js';
import { floorsOf, type Size, sizeOf } from './floor.js';
import { measure } from './measure.js';
import { inFlow, isBeside } from './names.js';
import type { Reference } from './reference.js';
import { tokensOf } from './rows.js';
import { compareTokens } from './tokens.js';
import { verdictOf } from './verdict.js';

export interface CompareOptions {
  /** Of the model, where it is known: it settles names that mean several things. */
  readonly config?: ModelConfig | null | undefined;
  /** Their name -> ours, where a user says so. */
  readonly map?: ((name: string) => string | null) | undefined;
  /** What they compute in; by default what their values show. */
  readonly dtype?: ComparedDtype | undefined;
}

/** Their names beside ours. */
interface Named {
  readonly name: string;
  /** Others that it may be, since their name says less than ours. */
  readonly alternatives: readonly string[];
  readonly tensor: DumpTensor;
}

export function compareWith(theirs: Dump, reference: Reference, options: CompareOptions = {}): Comparison {
  const { named, unknown, notes } = namesOf(theirs, reference, options);
  const dtype = options.dtype ?? dtypeOf(named);
  const comparer = new Comparer(theirs, reference, dtype);
  const tensors = named.map((own) => comparer.compare(own)).sort((a, b) => inFlow(a.name, b.name));
  const tokens = tokensCompared(theirs, reference, comparer);
  const had = new Set(tensors.map(({ name }) => name));
  return {
    verdict: worstOf([...tensors.map(({ verdict }) => verdict), ...(tokens ? [tokens.verdict] : [])]),
    theirs: theirs.path,
    ours: reference.name,
    dtype,
    precision: reference.precision,
    tensors,
    first: firstParting(tensors),
    tokens,
    bisection: null,
    unknown,
    missing: [...reference.points].filter((point) => !had.has(point)).sort(inFlow),
    notes: [...notes, ...comparer.notes],
  };
}

function namesOf(theirs: Dump, { points }: Reference, { config = null, map }: CompareOptions) {
  const names = [...theirs.tensors.keys()].filter((name) => !isBeside(name));
  const match = matchNames(names, (name) => points.has(name), { config, ...(map ? { map } : {}) });
  const named = match.pairs.map(
    ({ theirs: name, ours, alternatives }): Named => ({ name: ours, alternatives, tensor: theirs.tensors.get(name)! }),
  );
  const { repeated, absent } = match;
  const list = (all: readonly string[]) => `${all.slice(0, 3).join(', ')}${all.length > 3 ? ', ...' : ''}`;
  const notes = [
    ...(repeated.length > 0
      ? [
          `${repeated.length} of their tensors hold what another one holds more directly, and are left out: ${list(repeated)}.`,
        ]
      : []),
    ...(absent.length > 0 ? [`${absent.length} of their tensors are known, and not among ours: ${list(absent)}.`] : []),
  ];
  return { named, unknown: match.unknown, notes };
}

/** What most of their tensors are in. Embeddings are weights, whose dtype is another matter. */
export function dtypeOf(named: readonly Pick<Named, 'name' | 'tensor'>[]): ComparedDtype {
  const computed = named.filter(({ name }) => name !== 'embeddings' && !isWholeNumbers(name));
  const counted = computed.length > 0 ? computed : named;
  return dtypeOfDump(counted.map(({ tensor }) => dtypeOfValues(tensor.read())));
}

/** The first that is different; if none is, the first that is suspicious. */
export function firstParting(tensors: readonly TensorComparison[]): Parting | null {
  for (const verdict of ['different', 'suspicious'] as const) {
    const found = tensors.find((tensor) => tensor.verdict === verdict && tensor.worst);
    if (found) return partingAt(found);
  }
  return null;
}

export function partingAt({ name, theirName, verdict, worst }: TensorComparison): Parting {
  return { tensor: name, theirName, layer: layerOfPoint(name), verdict, ...worst! };
}

class Comparer {
  readonly notes: string[] = [];
  private readonly theirs: Dump;
  private readonly reference: Reference;
  private readonly dtype: ComparedDtype;
  /** The order in which their experts of a layer stand beside ours. */
  private readonly orders = new Map<number, readonly number[]>();

  constructor(theirs: Dump, reference: Reference, dtype: ComparedDtype) {
    this.theirs = theirs;
    this.reference = reference;
    this.dtype = dtype;
  }

  /** The floors of all rows of one of ours. */
  floors({ name, shape, values }: OurTensor): Size[] {
    const width = sizeOfShape(shape.slice(1));
    const rows = Array.from({ length: shape[0]! }, (_, r) => sizeOf(values.subarray(r * width, (r + 1) * width)));
    return floorsOf(this.reference.noise(name), rows, this.dtype);
  }

  compare({ name, alternatives, tensor }: Named): TensorComparison {
    const found = [name, ...alternatives].map((candidate) => this.compareAs(candidate, tensor));
    return found.reduce((best, next) => (isBetter(next, best) ? next : best));
  }

  private compareAs(name: string, tensor: DumpTensor): TensorComparison {
    const { dtype, shape } = tensor;
    const own = { name, theirName: tensor.name, dtype, shape };
    const ours = this.reference.tensor(name);
    const aligned = align(this.theirs, tensor, ours);
    if (typeof aligned === 'string') {
      const nothing = { layout: null, measures: null, rows: [], worst: null };
      return { ...own, ...nothing, verdict: 'different', problem: aligned };
    }
    const settled = this.inOrder(name, aligned);
    const floors = this.floors(ours);
    const pair = { ...settled, floors: settled.ourRows.map((row) => floors[row]!) };
    const measured = measure(pair, this.dtype, name === 'logits');
    const judged = isWholeNumbers(name) ? this.judgedByGaps(name, settled, measured) : measured;
    const verdict = worstOf(judged.rows.map((row) => row.verdict));
    return { ...own, layout: aligned.layout, verdict, problem: null, ...judged };
  }

  /** Experts ascending, and their weights with them. */
  private inOrder(name: string, aligned: Aligned): Aligned {
    const layer = layerOfPoint(name);
    if (layer === null || !/\.router\.(experts|weights)$/.test(name)) return aligned;
    if (isWholeNumbers(name)) this.orders.set(layer, orderOf(aligned.theirs, aligned.rowShape[0]!));
    const order = this.orders.get(layer) ?? orderOf(aligned.theirs, aligned.rowShape[0]!);
    if (isWholeNumbers(name)) return { ...aligned, theirs: reordered(aligned.theirs, order) };
    if (this.orders.has(layer)) return { ...aligned, theirs: reordered(aligned.theirs, order) };
    const ours = reordered(aligned.ours, orderOf(aligned.ours, aligned.rowShape[0]!));
    return { ...aligned, theirs: reordered(aligned.theirs, order), ours }; // weights alone: by size
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

function tokensCompared(theirs: Dump, reference: Reference, comparer: Comparer) {
  const { generatedIds } = tokensOf(theirs);
  if (generatedIds.length === 0 || !reference.points.has('logits')) return null;
  const logits = reference.tensor('logits');
  const fed = [...reference.inputIds, ...reference.generatedIds];
  const prompt = tokensOf(theirs).inputIds?.length ?? reference.inputIds.length;
  return compareTokens(generatedIds, prompt, fed, logits, comparer.floors(logits));
}
