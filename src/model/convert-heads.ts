/**
 * Another number of key/value heads (Ainslie et al. 2023, "GQA", section 2.1): fewer by the mean of each group's heads, which is another model, to be
 * trained further; more by repeating each head for the query heads that share it, which is the same model in more memory.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readJson } from '../checkpoint/json-file.js';
import { type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors/write.js';
import { TensorSource } from '../checkpoint/tensor-source.js';
import { expectSize, TouchstoneError, UsageError } from '../errors.js';
import { type FloatBits, type FloatDtype, isFloat8, roundTo8, roundTo16 } from '../tensor/dtype.js';
import { widenInto } from '../tensor/matrix.js';
import { familyOf } from './families/index.js';
import { loadConfig, loadModel } from './load.js';

export interface Conversion {
  /** Key/value heads before and after. */
  readonly from: number;
  readonly to: number;
  /** Repeated heads give the same logits; the mean of several does not. */
  readonly kind: 'repeated' | 'mean-pooled';
  /** Tensors that were changed. */
  readonly tensors: readonly string[];
}

/** What a checkpoint folder has beside config and weights that a converted one needs too. */
const COPIED =
  /^(tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab.*|merges\.txt|generation_config\.json|chat_template.*|LICENSE.*)$/;

/**
 * Writes a checkpoint folder, in the same form and dtypes, with another number of key/value heads.
 * @param heads how many; mqa is 1, mha as many as there are query heads
 * @param out a folder that is not there yet: it appears whole, or not at all
 * @throws UsageError for a number that does not fit the heads; CheckpointError for a checkpoint that cannot be read
 */
export function convertHeads(
  folder: string,
  out: string,
  heads: number | 'mha' | 'mqa',
  ignoreConfigKeys: readonly string[] = [],
): Conversion {
  const { layers, family } = loadModel(folder, { ignoreConfigKeys }).config; // the checkpoint is checked whole
  const { quantisation } = loadConfig(folder, { ignoreConfigKeys });
  if (quantisation) {
    throw new UsageError(
      `${folder}: its weights are quantised (quant_method = ${JSON.stringify(quantisation.method)}), so a mean of heads would need new scales; convert the checkpoint that was quantised.`,
    );
  }
  const raw = readJson(join(folder, 'config.json')) as Record<string, unknown>;
  const places = familyOf(raw, join(folder, 'config.json')).keyValueHeads;
  const { attention } = layers[0]!;
  if (!places || attention.kind !== 'grouped') {
    throw new UsageError(
      attention.kind === 'latent'
        ? `${folder}: its keys and values come from a latent, so there are no key/value heads to convert.`
        : `${folder}: the heads of ${family} cannot be converted: its config does not count key/value heads, or they have no matrices of their own.`,
    );
  }
  if (attention.qkNorm && attention.qkNorm.scope !== 'head') {
    throw new UsageError(
      `${folder}: the norm of its keys has weights for each head, or spans them all, so their number cannot change.`,
    );
  }
  const wanted = heads === 'mha' ? attention.queryHeads : heads === 'mqa' ? 1 : heads;
  const conversion = plan(attention.keyValueHeads, attention.queryHeads, wanted);
  if (existsSync(out)) throw new UsageError(`${out}: is there already; name a folder that is not.`);
  const suffixes = places.projections.flatMap((name) => [`.${name}.weight`, `.${name}.bias`]);
  const isChanged = (name: string) => suffixes.some((suffix) => name.endsWith(suffix));
  const tensors = converted(folder, isChanged, conversion);
  writeFolder(folder, out, { ...raw, [places.key]: wanted }, tensors);
  return { ...conversion, tensors: tensors.map(({ name }) => name).filter(isChanged) };
}

function plan(from: number, queryHeads: number, to: number): Omit<Conversion, 'tensors'> {
  expectSize('--key-value-heads', to);
  if (to === from) throw new UsageError(`--key-value-heads: the checkpoint has ${from} already.`);
  const fits = queryHeads % to === 0 && (to > from ? to % from === 0 : from % to === 0);
  if (fits) return { from, to, kind: to > from ? 'repeated' : 'mean-pooled' };
  const possible = Array.from({ length: queryHeads }, (_, i) => i + 1).filter(
    (n) => n !== from && queryHeads % n === 0 && (n % from === 0 || from % n === 0),
  );
  throw new UsageError(
    `--key-value-heads: ${from} heads, shared by ${queryHeads} query heads, can become ${possible.join(', ')}, not ${to}.`,
  );
}

function converted(
  folder: string,
  isChanged: (name: string) => boolean,
  { from, to }: Pick<Conversion, 'from' | 'to'>,
): TensorToWrite[] {
  const source = new TensorSource(folder);
  try {
    return source.entries().map(({ name, shape, dtype: stored }) => {
      if (!isChanged(name)) return { name, dtype: stored, shape, data: new Uint8Array(source.takeBytes(name)) };
      const { dtype, bits } = source.take(name, shape);
      const all = { name, dtype, rows: 1, columns: bits.length, bits };
      const data = to > from ? repeated(bits, from, to) : pooled(all, from, to);
      return { name, dtype, shape: [(shape[0]! / from) * to, ...shape.slice(1)], data };
    });
  } finally {
    source.close();
  }
}

/** Each of `from` runs of rows, to / from times. */
function repeated(bits: FloatBits, from: number, to: number): FloatBits {
  const size = bits.length / from;
  const longer = new (bits.constructor as new (length: number) => FloatBits)(size * to);
  for (let head = 0; head < to; head++) {
    const source = Math.floor(head / (to / from));
    longer.set(bits.subarray(source * size, (source + 1) * size), head * size);
  }
  return longer;
}

/** The mean of each from / to runs of rows: summed in order in float64, rounded to float32, then to the dtype. */
function pooled(stored: Parameters<typeof widenInto>[1], from: number, to: number): FloatBits {
  const [size, group] = [stored.columns / from, from / to];
  const wide = new Float64Array(stored.columns);
  widenInto(wide, stored, 0, stored.columns);
  const shorter = stored.bits.slice(0, size * to);
  const { dtype } = stored;
  for (let i = 0; i < shorter.length; i++) {
    const first = Math.floor(i / size) * group * size + (i % size);
    let sum = 0;
    for (let head = 0; head < group; head++) sum += wide[first + head * size]!;
    const mean = sum / group;
    shorter[i] = rounded(dtype, mean);
  }
  return shorter;
}

function rounded(dtype: FloatDtype, mean: number): number {
  if (isFloat8(dtype)) return roundTo8(dtype, Math.fround(mean));
  return dtype === 'F16' || dtype === 'BF16' ? roundTo16(dtype, Math.fround(mean)) : mean;
}

/** Writes everything beside `out`, then renames. */
function writeFolder(folder: string, out: string, config: object, tensors: readonly TensorToWrite[]): void {
  const beside = join(dirname(out), `${basename(out)}.${process.pid}.part`);
  try {
    mkdirSync(beside);
    for (const name of readdirSync(folder).filter(
      (file) => COPIED.test(file) && statSync(join(folder, file)).isFile(),
    )) {
      copyFileSync(join(folder, name), join(beside, name));
    }
    writeFileSync(join(beside, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    writeSafetensors(join(beside, 'model.safetensors'), tensors, { format: 'pt' }); // transformers asks for the format
    renameSync(beside, out);
  } catch (error) {
    if (existsSync(beside)) rmSync(beside, { recursive: true });
    if (error instanceof TouchstoneError) throw error;
    throw new TouchstoneError(`${out}: cannot be written (${(error as NodeJS.ErrnoException).code ?? error}).`);
  }
}
