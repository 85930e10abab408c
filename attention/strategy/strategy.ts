import type { Linear } from '../../src/math/linear.js';
import type { NormConfig, NormWeights } from '../../src/math/norm.js';
import type { Rope } from '../../src/math/rope.js';
import type { Tap } from '../../src/tensor/tap.js';
import type { Floats, Tensor } from '../../src/tensor/tensor.js';
import type { Alibi, ScoreStores } from '../scores.js';
import type { StreamRows, StreamSchema } from '../streams.js';

/** The shape of one layer's attention, from the config. */
export type AttentionConfig = GroupedConfig | LatentConfig;

/** Query heads that share key/value heads: MHA, MQA and all between. */
export interface GroupedConfig {
  readonly kind: 'grouped';
  /** H */
  readonly queryHeads: number;
  /** G; H / G query heads share one. */
  readonly keyValueHeads: number;
  /** K, and V */
  readonly headDim: number;
  /** What scores are multiplied by: 1 / sqrt(K) for most. */
  readonly scale: number;
  /** null: keys carry no position (Kazemnejad et al. 2023, "NoPE"), or `alibi` gives scores one. */
  readonly rope: Rope | null;
  /** Of queries and keys; null: none. */
  readonly qkNorm: QkNormConfig | null;
  /** Queries, keys and values are kept within [-clip, clip] (MPT, OLMo); null: they are not. */
  readonly clip: number | null;
  /** Scores are cap tanh(score / cap) (Gemma 2); null: as they are. */
  readonly softcap: number | null;
  readonly alibi: Alibi | null;
  readonly scoreStores?: ScoreStores | undefined;
  readonly temperature: TemperatureConfig | null;
  /** Each query head has a learned logit that takes its part of the softmax and weighs nothing (gpt-oss). */
  readonly sinks: boolean;
}

export interface QkNormConfig {
  readonly norm: NormConfig;
  /**
   * What one set of weights is learned for: `head`, all heads by themselves (Henry et al. 2020, "Query-Key Normalization"); `each-head`, as many
   * sets as heads; `heads-together`, no head by itself but all of them as one row (OLMo 2).
   */
  readonly scope: 'head' | 'each-head' | 'heads-together';
  /** Llama 4 rotates first. */
  readonly place: 'before-rope' | 'after-rope';
}

/** Queries grow with their position: by ln(1 + floor((position + 1) / floorScale)) attentionScale + 1 (Llama 4). */
export interface TemperatureConfig {
  readonly floorScale: number;
  readonly attentionScale: number;
}

/** Keys and values that come from one latent a token (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1). */
export interface LatentConfig {
  readonly kind: 'latent';
  /** H */
  readonly queryHeads: number;
  /** Q, the rank of the queries' own latent; null: they come straight from the input. */
  readonly queryRank: number | null;
  /** C, the latent's rank. */
  readonly latentRank: number;
  /** The part of a key dim that comes from the latent and carries no position. */
  readonly nopeDim: number;
  /** R, the part of a key dim that carries the position; all heads share its key. */
  readonly ropeDim: number;
  /** V */
  readonly valueDim: number;
  readonly scale: number;
  readonly rope: Rope;
  /** Of the latents. */
  readonly norm: NormConfig;
}

export type AttentionWeights = GroupedWeights | LatentWeights;

/** query [H K, D], key and value [G K, D], output [D, H K] */
export interface GroupedWeights {
  readonly kind: 'grouped';
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  /** [H]; null: none. */
  readonly sinks: Floats | null;
  /** [K], [heads, K] or [heads K] by the scope of `qkNorm`; null: none. */
  readonly queryNorm: NormWeights | null;
  readonly keyNorm: NormWeights | null;
}

export interface LatentWeights {
  readonly kind: 'latent';
  /** [H (nope + R), D], or through a latent of its own. */
  readonly query: Linear | LatentQueryWeights;
  /** [C + R, D], the latent, then the rope key. */
  readonly compress: Linear;
  /** [C] */
  readonly latentNorm: NormWeights;
  /** [H (nope + V), C], for each head its key rows, then its value rows. */
  readonly expand: Linear;
  /** [D, H V] */
  readonly output: Linear;
}

/** down [Q, D], norm [Q], up [H (nope + R), Q] */
export interface LatentQueryWeights {
  readonly down: Linear;
  readonly norm: NormWeights;
  readonly up: Linear;
}

/** A stream, and where in its rows the values that rope rotates begin; null: it rotates none. */
export interface RotatedStream extends StreamSchema {
  readonly ropeFrom: number | null;
}

/**
 * How queries meet the stored streams, for one layer. It says what is stored for each token, makes those rows and the queries
 * from the layer's input, and turns what was attended to into the layer's output. It knows nothing of where rows are stored, nor
 * at which position they are rotated: it says which of their values are (`ropeFrom`).
 */
export interface AttentionStrategy {
  readonly name: string;
  readonly streams: readonly RotatedStream[];
  /** The streams that, side by side, a query is compared with, and the stream that is summed. */
  readonly keyStreams: readonly string[];
  readonly valueStream: string;
  readonly scale: number;
  readonly queryHeads: number;
  /** [H]; null: none. */
  readonly sinkLogits_H: Floats | null;
  /** null: scores as they are. */
  readonly softcap: number | null;
  readonly alibi: Alibi | null;
  readonly scoreStores?: ScoreStores | undefined;
  /** null: a query is the same wherever it stands, but for its rotation. */
  readonly temperature: TemperatureConfig | null;
  /** What is done to queries and rows [T, heads, dim] once they are rotated, or where rows are rotated by slot, before; null: nothing. */
  readonly afterRope:
    | ((q_THK: Tensor, rows: StreamRows) => { readonly q_THK: Tensor; readonly rows: StreamRows })
    | null;
  /**
   * x [T, D] -> queries [T, H, K] and the rows to store, neither rotated yet.
   * @param tap is shown what queries and rows are made of, where that has a name of its own
   */
  project(x_TD: Tensor, tap?: Tap): { readonly q_THK: Tensor; readonly rows: StreamRows };
  /** [T, H, V] -> [T, D] */
  output(attended_THV: Tensor): Tensor;
}

/** Builds a strategy for one layer. @throws UsageError, saying why, for a layer of a shape that the strategy has no meaning for. */
export type StrategyBuilder = (config: AttentionConfig, weights: AttentionWeights) => AttentionStrategy;
