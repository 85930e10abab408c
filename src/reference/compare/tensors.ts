/** Holds what another implementation computed against ours, tensor by tensor in the order of the data's flow. */
import { RequestError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import { nearestCanonical } from '../dump/canonical.js';
import type { Dump } from '../dump/dump.js';
import { matchNames } from '../dump/names.js';
import { isWholeNumbers, layerOfPoint } from '../trace/format.js';
import { type Compared, Comparer, type Named } from './comparer.js';
import { type ComparedDtype, type Comparison, type Parting, type TensorComparison, worstOf } from './comparison.js';
import { dtypeOfDump, dtypeOfValues } from './dtype.js';
import type { Chooser } from './experts.js';
import { inFlow, isBeside } from './names.js';
import type { Reference } from './reference.js';
import { commonTokens, tokensOf } from './rows.js';
import { compareTokens } from './tokens.js';

export interface CompareOptions {
  /** Of the model, where it is known: it settles names that mean several things. */
  readonly config?: ModelConfig | null | undefined;
  /** Their name -> ours, where a user says so. */
  readonly map?: ((name: string) => string | null) | undefined;
  /** What they compute in; by default what their values show. */
  readonly dtype?: ComparedDtype | undefined;
  /** Their tensors that are left out. */
  readonly skip?: ((name: string) => boolean) | undefined;
  /** The dtype was seen from their values: that is said where it decides. */
  readonly guessed?: boolean | undefined;
  /** Our routers, where they are known. */
  readonly choose?: Chooser | undefined;
}

/** Compares with an open reference. @throws RequestError where there is nothing to compare */
export function compareWith(theirs: Dump, reference: Reference, options: CompareOptions = {}): Comparison {
  const { named, unknown, absent, notes } = namesOf(theirs, reference.points, options);
  const dtype = options.dtype ?? dtypeOf(named);
  const comparer = new Comparer(theirs, reference, dtype, named, options.choose);
  const tensors = settled(named.map((own) => comparer.compare(own))).sort((a, b) => inFlow(a.name, b.name));
  const tokens = tokensCompared(theirs, reference, comparer, dtype);
  if (tensors.length === 0 && !tokens) throw nothingKnown(theirs, absent, unknown);
  const had = new Set(tensors.map(({ name }) => name));
  return {
    verdict: worstOf([...tensors.map(({ verdict }) => verdict), ...(tokens ? [tokens.verdict] : [])]),
    theirs: theirs.path,
    ours: reference.name,
    dtype,
    precision: reference.precision,
    tensors,
    first: partingsOf(tensors)[0] ?? null,
    tokens,
    bisection: null,
    conclusion: null,
    unknown,
    missing: [...reference.points].filter((point) => !had.has(point)).sort(inFlow),
    notes: [
      ...guessedNote(dtype, tensors, options),
      ...narrowerOf(named, dtype),
      ...leftOut(theirs, reference),
      ...notCompared(theirs),
      ...notes,
    ],
  };
}

/**
 * A layout that could be another one by its shape is believed if some tensor has it that could not; else nobody can tell it from a mistake of
 * axes.
 */
function settled(all: readonly Compared[]): TensorComparison[] {
  const sure = new Set(all.flatMap(({ comparison, doubtful }) => (doubtful ? [] : [comparison.layout])));
  return all.map(({ comparison, doubtful }) => {
    const { verdict, layout, shape } = comparison;
    if (!doubtful || sure.has(layout) || verdict === 'different') return comparison;
    const problem = `its shape [${shape.join(', ')}] fits our order of axes, and its values only ${layout}; dump another number of tokens, so that the shape tells.`;
    return { ...comparison, verdict: 'suspicious', problem, measures: null, rows: [], worst: null };
  });
}

/** Their tensors beside ours. @param points the names of ours */
export function namesOf(theirs: Dump, points: ReadonlySet<string>, { config = null, map, skip }: CompareOptions) {
  const names = [...theirs.tensors.keys()].filter((name) => !isBeside(name) && !skip?.(name));
  const match = matchNames(names, (name) => points.has(name), { config, ...(map ? { map } : {}) });
  const named = match.pairs.map(
    ({ theirs: name, ours, ...pair }): Named => ({ name: ours, tensor: theirs.tensors.get(name)!, ...pair }),
  );
  const { repeated, absent } = match;
  const list = (all: readonly string[]) => `${all.slice(0, 3).join(', ')}${all.length > 3 ? ', ...' : ''}`;
  const notes = [
    ...(repeated.length > 0
      ? [
          `${repeated.length} of their tensors hold what another one holds more directly, and are left out: ${list(repeated)}.`,
        ]
      : []),
    ...(absent.length > 0
      ? [`names of theirs that are known, but not of this model's tensors (${absent.length}): ${list(absent)}.`]
      : []),
  ];
  return { named, unknown: match.unknown, absent, notes };
}

/** What most of their tensors are in. Embeddings are weights, whose dtype is another matter. */
export function dtypeOf(named: readonly Pick<Named, 'name' | 'tensor'>[]): ComparedDtype {
  const computed = named.filter(({ name }) => name !== 'embeddings' && !isWholeNumbers(name));
  const counted = computed.length > 0 ? computed : named;
  return dtypeOfDump(counted.map(({ tensor }) => dtypeOfValues(tensor.read())));
}

/** Tensors in 16 bits among others that are not: they are judged as the others are, unless a user says otherwise. */
function narrowerOf(named: readonly Named[], dtype: ComparedDtype): string[] {
  if (dtype.endsWith('16')) return [];
  const narrow = named.filter(
    ({ name, tensor }) =>
      name !== 'embeddings' && !isWholeNumbers(name) && dtypeOfValues(tensor.read())?.endsWith('16'),
  );
  if (narrow.length === 0) return [];
  const which = narrow.slice(0, 3).map(({ name }) => name);
  return [
    `${narrow.length} of their tensors have values of 16 bits, and are judged as ${dtype} (${which.join(', ')}${narrow.length > 3 ? ', ...' : ''}); --dtype says otherwise.`,
  ];
}

function nothingKnown({ path, tensors }: Dump, absent: readonly string[], unknown: readonly string[]): RequestError {
  if (tensors.size === 0) return new RequestError(`${path}: it holds no tensor.`);
  const few = (names: readonly string[]) => `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`;
  const why = [
    ...(absent.length > 0 ? [`the model has no ${few(absent)}`] : []),
    ...(unknown.length > 0
      ? [`not known is what ${few(unknown)} means (nearest: ${nearestCanonical(unknown[0]!)})`]
      : []),
  ].join('; ');
  return new RequestError(
    `${path}: nothing can be compared${why === '' ? '' : `: ${why}`}; say what tensors are with --map FILE (in the library: map).`,
  );
}

/** What is in a dump, and not compared. */
function notCompared({ tensors }: Dump): string[] {
  const names = [...tensors.keys()].filter((name) => /^(block_table|layers\.\d+\.cache\..*)$/.test(name));
  return names.length > 0 ? [`What caches hold is not compared (${names.length}): ${names[0]}, ...`] : [];
}

/** What a guess decides: noise of 16 bits is wide, and a small difference may be that of 16 bits. */
function guessedNote(
  dtype: ComparedDtype,
  tensors: readonly TensorComparison[],
  { guessed }: CompareOptions,
): string[] {
  if (!guessed) return [];
  if (dtype.endsWith('16'))
    return [
      `Their values are numbers of ${dtype}, so the noise is that of ${dtype}; --dtype float32 if they were only saved so.`,
    ];
  const apart = tensors.filter(({ verdict }) => verdict === 'different');
  const near = apart.length > 0 && apart.every(({ measures }) => measures && measures.cosine > 0.99);
  return near
    ? ['What differs is small, as of 16 bits: if they compute in bfloat16 or float16, say so (--dtype).']
    : [];
}

/** Where those that are different part, in order; if none is, those that are suspicious. */
export function partingsOf(tensors: readonly TensorComparison[]): Parting[] {
  for (const verdict of ['different', 'suspicious'] as const) {
    const found = tensors.filter((tensor) => tensor.verdict === verdict && tensor.worst);
    if (found.length > 0) return found.map(partingAt);
  }
  return [];
}

function partingAt({ name, theirName, verdict, worst }: TensorComparison): Parting {
  return { tensor: name, theirName, layer: layerOfPoint(name), verdict, ...worst! };
}

function tokensCompared(theirs: Dump, reference: Reference, comparer: Comparer, dtype: ComparedDtype) {
  const { generatedIds } = tokensOf(theirs);
  if (generatedIds.length === 0 || !reference.points.has('logits')) return null;
  const logits = reference.tensor('logits');
  const fed = [...reference.inputIds, ...reference.generatedIds];
  const prompt = tokensOf(theirs).inputIds?.length ?? reference.inputIds.length;
  return compareTokens(generatedIds, prompt, fed, logits, comparer.floors(logits), dtype);
}

/** A golden goes on with its own tokens. */
function leftOut(theirs: Dump, reference: Reference): string[] {
  const { inputIds, generatedIds } = tokensOf(theirs);
  const common = commonTokens(theirs, reference);
  const fed = (inputIds?.length ?? 0) + Math.max(generatedIds.length - 1, 0);
  if (common >= fed) return [];
  const ends = common === reference.inputIds.length + reference.generatedIds.length;
  return [
    `Rows from position ${common} on are left out: ${ends ? `${reference.name} ends there` : 'the tokens of the two are not the same'}.`,
  ];
}
