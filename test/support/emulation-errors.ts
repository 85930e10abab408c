import { basename } from 'node:path';
import { type SafetensorsFile, withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { argmax } from '../../src/generate/sampler.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { tableOf } from '../../src/tensor/dtype.js';
import { EMULATED_DTYPES, type EmulatedPrecision } from '../../src/tensor/emulated.js';
import { type Floats, flat, type Precision } from '../../src/tensor/tensor.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, goldenOptions, readGolden } from './fixtures.js';

/** What transformers made of a checkpoint in 16 bits (fixtures/generate/emulation.py). */
export interface Recorded {
  readonly name: string;
  readonly dtype: EmulatedPrecision;
  readonly inputIds: number[];
  readonly generatedIds: number[];
  readonly rows: Int32Array;
  /** [R, N] */
  readonly logits: Float32Array;
  /** Where the tokens are its own; null: they are those of the checkpoint's golden. */
  readonly own: { readonly margins: Float32Array; readonly cached: Difference } | null;
}

interface Difference {
  readonly rms: number;
  readonly max: number;
}

export interface EmulationReport extends Pick<Recorded, 'name' | 'dtype'> {
  /** Of transformers from the truth: what the dtype costs. */
  readonly floor: Difference;
  readonly ours: Difference;
  /** Ours from transformers. */
  readonly apart: Difference;
  readonly equalLogits: number;
  readonly own: TokensReport | null;
}

interface TokensReport {
  /** Of transformers from itself: all tokens fed one by one, from one pass over them. */
  readonly cached: Difference;
  readonly tokens: number;
  readonly equal: number;
  /** Tokens that the dtype itself makes near ties: whose margin lies below twice the floor's RMS, since two logits are off by so much. */
  readonly ambiguous: number;
  /** Margins of tokens that differ. */
  readonly turned: readonly number[];
}

export function readEmulation(path = fixture('emulation.safetensors')): Recorded[] {
  return withSafetensors(path, (file) => {
    const names = [...file.tensors.keys()].flatMap((name) => (name.endsWith('.rows') ? [name.slice(0, -5)] : []));
    return names.map((name) => recorded(file, name));
  });
}

/** What transformers' activations make of numbers x, by name. */
export function readActivations(dtype: EmulatedPrecision): Record<string, Float32Array> {
  const prefix = `activations-${dtype}.`;
  const table = tableOf(EMULATED_DTYPES[dtype])!;
  return withSafetensors(fixture('emulation.safetensors'), (file) => {
    const names = [...file.tensors.keys()].filter((name) => name.startsWith(prefix));
    const read = (name: string) => Float32Array.from(new Uint16Array(file.read(name)), (word) => table[word]!);
    return Object.fromEntries(names.map((name) => [name.slice(prefix.length), read(name)]));
  });
}

function recorded(file: SafetensorsFile, name: string): Recorded {
  const dtype = file.metadata.get('dtype') as EmulatedPrecision;
  const ids = (what: string) => Array.from(new BigInt64Array(file.read(`${name}.${what}`)), Number);
  const table = tableOf(EMULATED_DTYPES[dtype])!;
  const own = file.tensors.has(`${name}.margins`);
  const tokens = own ? { inputIds: ids('input_ids'), generatedIds: ids('generated_ids') } : readGolden(name);
  return {
    name,
    dtype,
    inputIds: tokens.inputIds,
    generatedIds: tokens.generatedIds,
    rows: new Int32Array(file.read(`${name}.rows`)),
    logits: Float32Array.from(new Uint16Array(file.read(`${name}.logits`)), (word) => table[word]!),
    own: own ? { margins: new Float32Array(file.read(`${name}.margins`)), cached: cachedOf(file, name) } : null,
  };
}

function cachedOf(file: SafetensorsFile, name: string): Difference {
  const [rms, max] = new Float64Array(file.read(`${name}.cached`)) as unknown as [number, number];
  return { rms, max };
}

/** Runs the prompt and what transformers went on with, in its dtype and in float64, which is the truth. */
export async function emulationErrors(record: Recorded): Promise<EmulationReport> {
  const { name, dtype, logits } = record;
  const [truth, ours] = [await logitsOf(record, 'float64'), await logitsOf(record, dtype)];
  const floor = difference(logits, truth.rows);
  return {
    name,
    dtype,
    floor,
    ours: difference(ours.rows, truth.rows),
    apart: difference(ours.rows, logits),
    equalLogits: logits.filter((logit, i) => logit === ours.rows[i]).length / logits.length,
    own: record.own && tokensReport(record.own, record.generatedIds, ours.all, floor),
  };
}

function tokensReport(
  { margins, cached }: NonNullable<Recorded['own']>,
  generatedIds: readonly number[],
  logits: readonly Floats[],
  floor: Difference,
): TokensReport {
  const tokens = generatedIds.length;
  const own = generatedIds.map((_, s) => argmax(logits.at(s - tokens)!));
  const turned = [...margins].filter((_, s) => own[s] !== generatedIds[s]);
  const ambiguous = margins.filter((margin) => margin <= nearTie(floor)).length;
  return { cached, tokens, equal: tokens - turned.length, ambiguous, turned };
}

/** A checkpoint of the fixtures, as its golden is run. */
export function loadEmulated(name: string, precision: Precision): Model {
  const checkpoint = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS].find((folder) => basename(folder) === name)!;
  return loadModel(fixture(checkpoint), { ...goldenOptions(checkpoint), precision });
}

/** All logits by row, and those of the recorded rows as one array. */
async function logitsOf({ name, inputIds, generatedIds, rows }: Recorded, precision: Precision) {
  const model = loadEmulated(name, precision);
  const ids = [...inputIds, ...generatedIds.slice(0, -1)];
  const cache = model.components.newCache();
  const flatLogits: Floats = flat(await forward(model, [{ ids, cache }], { logits: 'all' }));
  const { vocabulary } = model.config;
  const all = ids.map((_, t) => flatLogits.subarray(t * vocabulary, (t + 1) * vocabulary));
  return { all, rows: [...rows].flatMap((row) => [...all[row]!]) };
}

/** The margin below which a token may be another one. */
export function nearTie(floor: Difference): number {
  return 2 * floor.rms;
}

function difference(found: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  if (found.length !== expected.length) throw new Error(`expected ${expected.length} logits, got ${found.length}`);
  const apart = Array.from(found, (logit, i) => Math.abs(logit - expected[i]!));
  const squares = apart.reduce((sum, error) => sum + error * error, 0);
  return { rms: Math.sqrt(squares / apart.length), max: apart.reduce((max, error) => Math.max(max, error), 0) };
}
