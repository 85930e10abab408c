import type { AttentionConfig } from '../../attention/strategy/strategy.js';
import type { VisibilityConfig } from '../../attention/visibility/index.js';
import type { Activation } from '../math/elementwise.js';

/**
 * A model as its config.json describes it: parsed once, frozen, with everything derived. The list of layers is the model's
 * depth, and each layer says what it is, so that families that alternate kinds of layers need nothing special.
 */
export interface ModelConfig {
  readonly family: string;
  /** N */
  readonly vocabulary: number;
  /** D */
  readonly width: number;
  readonly layers: readonly LayerConfig[];
  readonly finalNorm: NormConfig;
  /** The embedding matrix is the output head too. */
  readonly tied: boolean;
  /** The longest sequence that the model was made for, in tokens. */
  readonly context: number;
}

export interface LayerConfig {
  readonly norm: NormConfig;
  readonly attention: AttentionConfig;
  readonly attentionBias: boolean;
  readonly visibility: VisibilityConfig;
  readonly feedForward: FeedForwardConfig;
}

export interface NormConfig {
  readonly kind: 'rms';
  readonly eps: number;
}

/** down(activation(gate x) * up x) (Shazeer 2020, "GLU Variants Improve Transformer"). */
export interface FeedForwardConfig {
  readonly kind: 'gated';
  /** F */
  readonly width: number;
  readonly activation: Activation;
  readonly bias: boolean;
}

/** Freezes an object and all that it holds. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
