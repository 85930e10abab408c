/** Static scales for fp8 caches: the largest values that a text's keys and values reach, measured once and kept in a file. */
import { z } from 'zod';
import { amaxOf } from '../../attention/cache/codec/amax.js';
import type { KvAmax } from '../../attention/cache/codec/format.js';
import { hashesOf } from '../checkpoint/folder.js';
import { readJson, validate } from '../checkpoint/json-file.js';
import { CheckpointError, RequestError } from '../errors.js';
import { writeAtomically } from '../files.js';
import { feed } from '../generate/generate.js';
import { assemble, type Model } from '../model/load.js';
import { VERSION } from '../version.js';

const FORMAT = 'touchstone-kv-scales-1';

/**
 * Feeds a text, in segments of the model's context, to a cache that keeps rows as they are computed.
 * @returns the largest |value| of each layer's streams by head
 * @throws RequestError if there is no token, or a stored value is NaN or infinite
 */
export async function calibrate(
  model: Model,
  ids: readonly number[],
  pause?: () => Promise<void>,
  progress?: (done: number, of: number) => void,
): Promise<KvAmax> {
  if (ids.length === 0) throw new RequestError('There are no tokens to calibrate on; give a text.');
  const exact = exactly(model);
  let amax: KvAmax = [];
  for (let from = 0; from < ids.length; from += model.config.context) {
    const cache = exact.components.newCache();
    await feed(exact, ids.slice(from, from + model.config.context), cache, {
      from: 0,
      chunk: 64,
      pause,
      progress: (fed) => progress?.(from + fed, ids.length),
    });
    const found = exact.components.schemas.map(({ streams }, layer) => amaxOf(cache.blocks(layer), streams));
    amax = found.map((layer, i) => largest(layer, amax[i] ?? layer));
  }
  for (const [layer, streams] of amax.entries()) expectFinite(layer, streams);
  return amax;
}

/** The same model, whose cache keeps every row as it is computed. */
export function exactly({ config, weights, options, files }: Model): Model {
  return assemble(config, weights, { ...options, cache: 'contiguous', kvDtype: 'auto' }, files);
}

type Layer = KvAmax[number];

function largest(a: Layer, b: Layer): Layer {
  const entries = Object.entries(a).map(([name, values]) => [name, values.map((x, g) => Math.max(x, b[name]![g]!))]);
  return Object.fromEntries(entries);
}

function expectFinite(layer: number, streams: Layer): void {
  for (const [name, values] of Object.entries(streams)) {
    if (values.every(Number.isFinite)) continue;
    throw new RequestError(`Layer ${layer} stores '${name}' that are NaN or infinite; no scale can be made for them.`);
  }
}

const schema = z.strictObject({
  format: z.literal(FORMAT),
  touchstone: z.string(),
  sha256: z.record(z.string(), z.string()),
  options: z.record(z.string(), z.string()),
  tokens: z.int().positive(),
  amax: z.array(z.record(z.string(), z.array(z.number().nonnegative()))),
});

export type KvScales = z.output<typeof schema>;

/** Writes what was measured on `tokens` tokens, with what it was measured with. */
export function writeScales(path: string, amax: KvAmax, tokens: number, model: Model): void {
  const about = {
    format: FORMAT,
    touchstone: VERSION,
    sha256: hashesOf(model.files),
    options: optionsOf(model),
    tokens,
  };
  const layers = amax.map((layer) => `    ${JSON.stringify(layer)}`).join(',\n');
  const text = `${JSON.stringify(about, null, 2).slice(0, -2)},\n  "amax": [\n${layers}\n  ]\n}\n`;
  writeAtomically(path, [Buffer.from(text)]);
}

/** @throws CheckpointError if the file is no such file */
export function readScales(path: string): KvScales {
  return validate(schema, readJson(path), path);
}

/** @throws CheckpointError for scales that were measured on another checkpoint, or on rows of another kind */
export function expectScalesOf(model: Model, { sha256, options, amax }: KvScales, path: string): void {
  const fail = (what: string): never => {
    throw new CheckpointError(`${path}: the scales were measured with ${what}; calibrate again.`);
  };
  for (const [name, hash] of Object.entries(hashesOf(model.files))) if (sha256[name] !== hash) fail(`another ${name}`);
  for (const [name, value] of Object.entries(optionsOf(model))) {
    if (options[name] !== value) fail(`${name} = ${options[name]}, and this run has ${value}`);
  }
  const streams = (layers: readonly object[]) => JSON.stringify(layers.map((layer) => Object.keys(layer).sort()));
  const stored = model.components.schemas.map((schema) =>
    Object.fromEntries(schema.streams.map(({ name }) => [name, 0])),
  );
  if (streams(amax) !== streams(stored)) fail('other layers or streams');
}

/** What decides which values are stored. (Precision moves them by roundings alone.) */
function optionsOf({ components: { chosen } }: Model): Record<string, string> {
  return { attention: chosen.attention, visibility: chosen.visibility, positions: chosen.positions };
}
