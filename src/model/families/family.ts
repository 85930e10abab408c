import type { ModelConfig } from '../config.js';
import type { ModelWeights, WeightReader } from '../weights.js';

/** What touchstone knows of one `model_type`: how to read its config, and what its tensors are called. */
export interface Family {
  readonly modelType: string;
  /** config.json, parsed -> the frozen config. @throws CheckpointError naming the file and the key. */
  configure(raw: unknown, file: string): ModelConfig;
  /** The checkpoint's tensors by name -> typed weights. */
  bind(config: ModelConfig, reader: WeightReader): ModelWeights;
}
