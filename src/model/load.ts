import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { kvFormat } from '../../attention/cache/codec/format.js';
import { readJson } from '../checkpoint/json-file.js';
import { TensorSource } from '../checkpoint/tensor-source.js';
import { CheckpointError, expectSize } from '../errors.js';
import { type Components, componentsOf, DEFAULT_OPTIONS, type RunOptions } from './components.js';
import type { ModelConfig } from './config.js';
import type { Family } from './families/family.js';
import { familyOf } from './families/index.js';
import { quantisationOf } from './families/quantisation-config.js';
import { expectFit } from './fit.js';
import type { Quantisation } from './quantisation.js';
import { WeightReader } from './weight-reader.js';
import type { ModelWeights } from './weights.js';

/** A model that is ready to run: what it is, its weights, and the parts that its attention is made of. */
export interface Model {
  /** The checkpoint's files that were read: config.json first, then the weights. */
  readonly files: readonly string[];
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly options: RunOptions;
  readonly components: Components;
}

export interface LoadOptions extends Partial<RunOptions>, ConfigOptions {
  /** Told after each tensor how many bytes of weights are read. */
  readonly progress?: ((read: number, of: number) => void) | undefined;
}

/** How a config is read. */
export interface ConfigOptions {
  /** Keys of config.json that are known not to change the mathematics of this checkpoint. */
  readonly ignoreConfigKeys?: readonly string[] | undefined;
  /**
   * The sequence length that a rope which depends on it (dynamic, longrope) is made for; longer sequences are refused. Logits are those of a
   * transformers run over so many tokens. By default the length that the model was trained on before its rope was stretched.
   */
  readonly ropeLength?: number | undefined;
}

/**
 * Loads a checkpoint folder in Hugging Face form: config.json and model.safetensors, whole or in shards.
 * @throws CheckpointError naming file and key or tensor if anything is missing, malformed, contradictory or left over.
 */
export function loadModel(
  folder: string,
  { ignoreConfigKeys, ropeLength, progress, ...chosen }: LoadOptions = {},
): Model {
  const { family, config, quantisation } = loadConfig(folder, { ignoreConfigKeys, ropeLength });
  const given = Object.entries(chosen).filter(([, value]) => value !== undefined);
  const pageSize = pageSizeFor(chosen.kvDtype ?? 'auto');
  const options: RunOptions = {
    ...DEFAULT_OPTIONS,
    pageSize,
    cacheTokens: config.context,
    ...Object.fromEntries(given),
  };
  const source = new TensorSource(folder, progress);
  try {
    const weights = family.bind(config, new WeightReader(source, options.precision, quantisation));
    source.expectAllTaken();
    return assemble(config, weights, options, [join(folder, 'config.json'), ...source.paths]);
  } finally {
    source.close();
  }
}

/** The default page, in whole groups where keys go by channel. */
function pageSizeFor(kvDtype: RunOptions['kvDtype']): number {
  const { pageSize } = DEFAULT_OPTIONS;
  const { alignment } = kvFormat(kvDtype === 'auto' ? 'float32' : kvDtype);
  return Math.ceil(pageSize / alignment) * alignment;
}

/** Puts a model together, so that changed configs and weights make changed components. @throws UsageError if they do not fit together */
export function assemble(
  config: ModelConfig,
  weights: ModelWeights,
  options: RunOptions = { ...DEFAULT_OPTIONS, cacheTokens: config.context },
  files: readonly string[] = [],
): Model {
  expectFit(config, weights);
  return { files, config, weights, options, components: componentsOf(config, weights, options) };
}

/** Reads config.json alone: what the model is, and how its weights are stored (null: as they are). @throws CheckpointError */
export function loadConfig(
  folder: string,
  { ignoreConfigKeys = [], ropeLength }: ConfigOptions = {},
): { family: Family; config: ModelConfig; quantisation: Quantisation | null } {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new CheckpointError(`${folder}: expected a checkpoint folder with config.json and model.safetensors.`);
  }
  const file = join(folder, 'config.json');
  const raw = readJson(file);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new CheckpointError(`${file}: expected a JSON object, got ${Array.isArray(raw) ? 'an array' : raw}.`);
  }
  const kept = ignoreConfigKeys.reduce((config, key) => without(config, key.split('.')), raw);
  const family = familyOf(kept, file);
  if (ropeLength !== undefined) expectSize('--rope-length (ropeLength)', ropeLength);
  const config = family.configure(kept, { file, ropeLength: ropeLength ?? null });
  return { family, config, quantisation: quantisationOf(kept, file) };
}

/** A copy without one key, given as a path of members. */
function without(value: object, [key, ...inner]: readonly string[]): object {
  const members = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
    if (name !== key) return [[name, member]];
    return inner.length === 0 || typeof member !== 'object' || member === null ? [] : [[name, without(member, inner)]];
  });
  return Object.fromEntries(members);
}
