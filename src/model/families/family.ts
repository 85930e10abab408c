import type { ModelConfig } from '../config.js';
import type { ModelWeights, WeightReader } from '../weights.js';

/** What touchstone knows of one `model_type`: how to read its config, and what its tensors are called. */
export interface Family {
  readonly modelType: string;
  /** config.json, parsed -> the frozen config. @throws CheckpointError naming the file and the key. */
  configure(raw: unknown, file: string): ModelConfig;
  /** The checkpoint's tensors by name -> typed weights. */
  bind(config: ModelConfig, reader: WeightReader): ModelWeights;
  /** Where a conversion of its key/value heads finds them; absent where there are none. */
  readonly keyValueHeads?: KeyValueHeads;
}

interface KeyValueHeads {
  /** The config key that counts them. */
  readonly key: string;
  /** Names of the projections that make keys and values, within a layer: their weights, and biases if any, have G x K rows. */
  readonly projections: readonly string[];
}
