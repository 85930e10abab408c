/** Random weights, made when a family's binding asks for them by name and shape: so that no list of names is written twice. */
import { createHash } from 'node:crypto';
import type { TensorToWrite } from '../../checkpoint/safetensors/write.js';
import type { StoredTensor, WeightSource } from '../../checkpoint/tensor-source.js';
import { uniform } from '../../generate/sampler.js';
import type { ModelConfig } from '../../model/config.js';
import { roundTo16 } from '../../tensor/dtype.js';

/** What makes queries and keys: their products have to be large, or all keys would be attended to alike. */
const PEAKED = /(q_proj|k_proj|kv_a_proj_with_mqa|kv_b_proj|c_attn|query_key_value)\.weight$/;
/** Norms of queries and keys undo what makes them large, and say it themselves. */
const PEAKED_NORMS = /(q_norm|k_norm)\.weight$/;
const EMBEDDINGS = /(embed_tokens|embed_in|wte|wpe|word_embeddings)\.weight$/;
const FINAL_NORMS = /(^model\.norm|ln_f|final_layer_norm)\.weight$/;
/** Stored as [inputs, outputs]: GPT-2's matrices and the stacks of gpt-oss. */
const INPUTS_FIRST = /(^transformer\.h\..*\.c_|\.experts\.(gate_up|down)_)/;

/** A distribution that a tensor is drawn from. */
interface Draw {
  readonly mean: number;
  readonly deviation: number;
  /** Whether half of the values change their signs. */
  readonly signs?: boolean;
}

/**
 * A source of weights whose every tensor has numbers of its own name, as large as makes a model's logits lively: a matrix keeps the variance
 * of its input, attention has peaks, no bias is zero and no norm is 1. (`fixtures/generate/initialise.py` does the same.)
 */
export class MadeWeights implements WeightSource {
  readonly folder: string;
  /** What was asked for. */
  readonly made: TensorToWrite[] = [];
  private readonly config: ModelConfig;
  private readonly dtype: 'F32' | 'BF16';

  /** @param folder where they will stand; its last part decides the numbers, with the tensors' names */
  constructor(folder: string, config: ModelConfig, dtype: 'F32' | 'BF16') {
    this.folder = folder;
    this.config = config;
    this.dtype = dtype;
  }

  has(): boolean {
    return false;
  }

  ignore(): void {}

  take(name: string, shape: readonly number[]): StoredTensor {
    const values = this.drawn(name, shape);
    const data = this.dtype === 'F32' ? values : Uint16Array.from(values, (value) => roundTo16('BF16', value));
    this.made.push({ name, dtype: this.dtype, shape, data });
    return { name, dtype: this.dtype, bits: data };
  }

  find(name: string): never {
    throw new Error(`${this.folder}: ${name} would be quantised, and such weights are not made up`);
  }

  expectShape(name: string): never {
    return this.find(name);
  }

  takeBytes(name: string): never {
    return this.find(name);
  }

  private drawn(name: string, shape: readonly number[]): Float32Array {
    const seed = createHash('sha256')
      .update(`${this.folder.split(/[\\/]/).at(-1)} ${name}`)
      .digest()
      .readUInt32LE();
    const random = uniform(seed);
    const { mean, deviation, signs } = this.drawOf(name, shape);
    const length = shape.reduce((product, axis) => product * axis, 1);
    const offset = this.config.finalNorm?.weightOffset ?? 0;
    return Float32Array.from({ length }, () => {
      const value = mean + deviation * normal(random);
      if (!isNorm(name, shape)) return value;
      return (signs && random() < 0.5 ? -value : value) - offset;
    });
  }

  private drawOf(name: string, shape: readonly number[]): Draw {
    const { tied } = this.config.head;
    if (name.endsWith('bias')) return { mean: 0, deviation: 0.1 };
    if (name.endsWith('sinks')) return { mean: 1, deviation: 1 };
    if (PEAKED_NORMS.test(name)) return { mean: 1.6, deviation: 0.4 };
    // With a tied head every token would predict itself, unless a norm of random signs stands between.
    if (isNorm(name, shape)) return { mean: 1, deviation: 0.2, signs: tied && FINAL_NORMS.test(name) };
    if (EMBEDDINGS.test(name) && !tied) return { mean: 0, deviation: 1 };
    const fanIn = shape.at(INPUTS_FIRST.test(name) ? -2 : -1)!;
    return { mean: 0, deviation: (PEAKED.test(name) ? 2 : 1.5) / Math.sqrt(fanIn) };
  }
}

function isNorm(name: string, shape: readonly number[]): boolean {
  return shape.length === 1 && name.endsWith('.weight');
}

/** Nearly a draw from the normal distribution, by additions alone: so no library's logarithm is in the bytes of a kit. */
function normal(random: () => number): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random();
  return sum;
}
