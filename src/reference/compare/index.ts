/** Holds what another implementation computed against a model or a golden. */
import { RequestError, UsageError } from '../../errors.js';
import type { Model } from '../../model/load.js';
import { route } from '../../model/router.js';
import { isEmulated, tensor } from '../../tensor/tensor.js';
import type { Dump } from '../dump/dump.js';
import type { NameMap } from '../dump/name-map.js';
import { openDump } from '../dump/open.js';
import { FLOAT64_NOISE, inNamedForm } from '../trace/index.js';
import { planOf } from '../trace/plan.js';
import type { Splice } from '../trace/run.js';
import { bisectionOf } from './bisect.js';
import type { Named } from './comparer.js';
import { type ComparedDtype, type Comparison, worstOf } from './comparison.js';
import type { Chooser } from './experts.js';
import { openReference, type Reference, referenceOf } from './reference.js';
import { expectSameTokens } from './rows.js';
import { withRunNames } from './run-tensors.js';
import { afterSplice, chosenFrom, spliceable, splicing } from './splice.js';
import { compareWith, dtypeOf, namesOf } from './tensors.js';
import { idsOf, type ModelOptions, pairFor, referenceFrom } from './with-model.js';

export interface CompareOptions extends Omit<ModelOptions, 'splice'> {
  /** Their names -> ours (`readNameMap`), where names say too little. */
  readonly map?: NameMap | undefined;
  /** Their tensors that are left out, by their names. */
  readonly skip?: ((name: string) => boolean) | undefined;
  /** What they compute in; by default what their values show. */
  readonly dtype?: ComparedDtype | undefined;
  /** With a model: find the tensors that are wrong by themselves, each made from their own values of what it is made of. */
  readonly bisect?: boolean | undefined;
  /** With a model: points, by our names or theirs, at which our pass goes on with their values. What follows the last of them is compared. */
  readonly spliceAt?: readonly string[] | undefined;
}

/**
 * Compares tensor by tensor, in the order of the data's flow, against the noise floor.
 * @param theirs an open dump, or the path of a file or folder that `openDump` reads
 * @param ours a model, which runs their tokens; or a trace with its noise (`trace`, `touchstone golden --noise`), open or by its path
 * @throws CheckpointError, RequestError, UsageError for what cannot be read, run, or compared
 */
export async function compare(
  theirs: Dump | string,
  ours: Model | Dump | string,
  options: CompareOptions = {},
): Promise<Comparison> {
  const dump = withRunNames(typeof theirs === 'string' ? openDump(theirs) : theirs, options.map);
  try {
    if (typeof ours !== 'string' && 'weights' in ours) return await compareWithModel(dump, ours, options);
    return compareWithTrace(dump, ours, options);
  } finally {
    if (typeof theirs === 'string') dump.close();
  }
}

function compareWithTrace(
  theirs: Dump,
  ours: Dump | string,
  { map, skip, dtype, bisect, spliceAt }: CompareOptions,
): Comparison {
  if (bisect || spliceAt) {
    throw new UsageError('A golden cannot go on with their values (--bisect, splice); compare with a model (--model).');
  }
  const reference = typeof ours === 'string' ? openReference(ours) : referenceOf(ours, ours.path);
  try {
    expectSameTokens(theirs, reference);
    const found = compareWith(theirs, reference, { map, skip, dtype, guessed: dtype === undefined });
    if (reference.noiseOf === 'float64') return withNoiseOf64(found, reference, theirs, { map, skip }, dtype);
    if (!dtype && found.dtype === 'float64' && reference.noiseOf === 'float32')
      return compareWith(theirs, reference, { map, skip, dtype: 'float32' });
    expectNoiseOf(found.dtype, reference, theirs.path);
    return found;
  } finally {
    if (typeof ours === 'string') reference.close();
  }
}

/** A golden in float64 serves float32 as well: its noise was made of that one's. */
function withNoiseOf64(
  found: Comparison,
  reference: Reference,
  theirs: Dump,
  settings: Settings,
  told: ComparedDtype | undefined,
): Comparison {
  if (found.dtype === 'float32') return compareWith(theirs, inFloat32(reference), { ...settings, dtype: 'float32' });
  expectNoiseOf(found.dtype, reference, theirs.path);
  return told ? found : inEarnest(found, reference, theirs, settings).found;
}

type Settings = Parameters<typeof compareWith>[2];

/** @throws UsageError if the golden tells the noise of another dtype: a narrower one's would hide mistakes, a wider one's would invent them */
function expectNoiseOf(dtype: ComparedDtype, { noiseOf, name }: Reference, path: string): void {
  if (dtype === noiseOf) return;
  const emulate = dtype.endsWith('16') ? ` --emulate ${dtype}` : '';
  throw new UsageError(
    `${path} is computed in ${dtype}, and ${name} tells the noise of ${noiseOf}; make a golden with touchstone golden --noise${emulate}, ` +
      'compare with a model (--model), or say what they compute in (--dtype).',
  );
}

async function compareWithModel(theirs: Dump, given: Model, options: CompareOptions): Promise<Comparison> {
  const { map, skip, bisect, spliceAt } = options;
  const model = inNamedForm(given, { capture: 'all' });
  const ids = idsOf(theirs, options);
  const { named, points, dtype: shown, missing } = await pointsFor(theirs, model, ids, options);
  expectEmulated(model, shown, options, theirs.path);
  const pair = pairFor(model, shown, options);
  const run = (splice?: Splice) => referenceFrom(pair, ids, points, { ...options, splice });
  const settings = { config: model.config, map, skip, choose: chooserOf(model) };
  const reference = await run();
  try {
    const first = compareWith(theirs, reference, { ...settings, dtype: shown, guessed: options.dtype === undefined });
    const { found: plain, view } = options.dtype
      ? { found: first, view: same }
      : inEarnest(first, reference, theirs, settings);
    if (!bisect && !spliceAt) return { ...plain, missing };
    const all = spliceable(named, plain.tensors);
    const at = spliceAt ? chosenFrom(all, spliceAt, theirs.path) : all;
    const spliced = await run(splicing(theirs, reference, at));
    const made = closing(spliced, () => ({
      ...compareWith(theirs, view(spliced), { ...settings, dtype: plain.dtype }),
      missing,
    }));
    if (spliceAt) return afterSplice(made, at);
    const bisection = bisectionOf(made);
    const verdict = worstOf([plain.verdict, ...bisection.roots.map((root) => root.verdict)]);
    return { ...plain, missing, verdict, bisection };
  } finally {
    reference.close();
  }
}

const same = (reference: Reference) => reference;

/**
 * Values that only float64 has may be those of float32 that were written otherwise: as decimals, or after a multiplication. They are float64's if they
 * agree with ours far better than float32 could.
 */
function inEarnest(
  found: Comparison,
  reference: Reference,
  theirs: Dump,
  settings: Settings,
): { readonly found: Comparison; readonly view: (reference: Reference) => Reference } {
  const limit = 1e-3 / FLOAT64_NOISE;
  const agrees = found.tensors.every(({ measures }) => !measures || measures.rms <= limit * measures.noise.rms);
  if (found.dtype !== 'float64' || agrees) return { found, view: same };
  const narrow = compareWith(theirs, inFloat32(reference), { ...settings, dtype: 'float32' });
  const note =
    'Their values are numbers of float64, and lie as far from ours as those of float32 do: judged as float32 (--dtype float64 says otherwise).';
  return { found: { ...narrow, notes: [note, ...narrow.notes] }, view: inFloat32 };
}

/** With the noise that float64's was made of. */
function inFloat32(reference: Reference): Reference {
  const noise = (point: string) => reference.noise(point).map((size) => size / FLOAT64_NOISE);
  return { ...reference, noiseOf: 'float32', noise };
}

/** @throws UsageError where a reference of 16 bits would judge what was computed in more */
function expectEmulated(
  { options: { precision } }: Model,
  dtype: ComparedDtype,
  { dtype: told }: CompareOptions,
  path: string,
): void {
  if (told || !isEmulated(precision) || dtype === precision) return;
  throw new UsageError(
    `${path} is computed in ${dtype}, and ours would emulate ${precision}, whose noise hides mistakes; leave out --emulate, or say what they compute in (--dtype ${precision}).`,
  );
}

function chooserOf({ config, weights }: Model): Chooser {
  return (layer, logits_E) => {
    const [own, held] = [config.layers[layer]!.feedForward, weights.layers[layer]!.feedForward];
    if (own.kind !== 'experts' || held.kind !== 'experts') return null;
    return route(tensor(logits_E, [1, logits_E.length]), held.correction, own).map(({ expert }) => expert);
  };
}

/** Which points of ours are needed for theirs, what they compute in, and which of ours they have not. */
async function pointsFor(
  theirs: Dump,
  model: Model,
  ids: readonly number[],
  { map, skip, dtype }: CompareOptions,
): Promise<{ named: Named[]; points: (point: string) => boolean; dtype: ComparedDtype; missing: string[] }> {
  if (ids.length === 0)
    throw new RequestError(`${theirs.path}: its input_ids are empty; at least one token is needed.`);
  const planned = await planOf(model, ids[0]!, { rows: 1, tokens: 1 }, { capture: 'all' });
  const names = planned.map(({ name }) => name);
  const { config } = model;
  const { named } = namesOf(theirs, new Set(names), { config, map, skip });
  const wanted = new Set(named.flatMap(({ name, alternatives }) => [name, ...alternatives]));
  return {
    named,
    points: (point) => wanted.has(point) || point === 'logits' || isRouter(point),
    dtype: dtype ?? dtypeOf(named),
    missing: names.filter((name) => !wanted.has(name)),
  };
}

/** Logits of routers tell whether another choice was near a tie. */
function isRouter(point: string): boolean {
  return point.endsWith('.router.logits');
}

function closing<Result>(reference: Reference, use: () => Result): Result {
  try {
    return use();
  } finally {
    reference.close();
  }
}
