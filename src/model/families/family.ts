import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { deepFreeze, type ModelConfig } from '../config.js';
import type { WeightReader } from '../weight-reader.js';
import type { ModelWeights } from '../weights.js';
import { bindDecoder, type DecoderNames, type NamesFor } from './bind.js';
import { anything, inertKeys, type Origin } from './common.js';
import { quantisationOf } from './quantisation-config.js';
import { type Spelling, spelledAs } from './spelling.js';

/** What touchstone knows of one `model_type`: how to read its config, and what its tensors are called. */
export interface Family {
  readonly modelType: string;
  /** config.json, parsed -> the frozen config. @throws CheckpointError naming the file and the key. */
  configure(raw: unknown, origin: Origin): ModelConfig;
  /** The checkpoint's tensors by name -> typed weights. */
  bind(config: ModelConfig, reader: WeightReader): ModelWeights;
  /** Where a conversion of its key/value heads finds them; absent where they have no matrices of their own. */
  readonly keyValueHeads?: KeyValueHeads;
}

interface KeyValueHeads {
  /** The config key that counts them. */
  readonly key: string;
  /** Names of the projections that make keys and values, within a layer: their weights, and biases if any, have G x K rows. */
  readonly projections: readonly string[];
}

/** A family as its file describes it. */
interface Description<Keys extends z.ZodRawShape> {
  readonly modelType: string;
  /** The keys of its config.json that are understood, beside those that change nothing (`inertKeys`). */
  readonly keys: Keys;
  /** Other names that its files have for some of them. */
  readonly spelling?: Spelling;
  /** The valid keys -> the config, without the name. @throws CheckpointError for keys that do not fit together */
  configure(keys: z.output<z.ZodObject<Keys>>, origin: Origin): Omit<ModelConfig, 'family'>;
  /** What its tensors are called; with a function, by what the config says, and by what the file has. */
  readonly names: DecoderNames | NamesFor;
  readonly keyValueHeads?: KeyValueHeads;
}

/** Makes a family of its description: a key that is neither understood nor known to change nothing is an error. */
export function family<Keys extends z.ZodRawShape>(description: Description<Keys>): Family {
  const { modelType, names, spelling = {}, keyValueHeads } = description;
  return {
    modelType,
    configure(raw, origin) {
      const { shape, renamed } = spelledAs(description.keys, raw, spelling, origin.file);
      quantisationOf(raw, origin.file); // how weights are stored is no part of what they are, and must be understood all the same
      const all = { ...inertKeys, quantization_config: anything, ...shape, model_type: z.literal(modelType) };
      const schema = z.strictObject(all);
      const keys = renamed(validate(schema, raw, origin.file)) as z.output<z.ZodObject<Keys>>;
      return deepFreeze({ family: modelType, ...description.configure(keys, origin) });
    },
    bind: (config, reader) =>
      bindDecoder(config, reader, typeof names === 'function' ? names(config, reader.source) : names),
    ...(keyValueHeads && { keyValueHeads }),
  };
}
