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

export type FeedForwardConfig = GatedConfig | ExpertsConfig;

/** down(activation(gate x) * up x) (Shazeer 2020, "GLU Variants Improve Transformer"). */
export interface GatedConfig {
  readonly kind: 'gated';
  /** F */
  readonly width: number;
  readonly activation: Activation;
  /** gpt-oss: gate and up are clamped, up is raised by one, and the gate's sigmoid is sharpened; null: none of it. */
  readonly clamp: ClampConfig | null;
  readonly bias: boolean;
}

/** down((clamp(up x) + 1) * g sigmoid(alpha g)) with g = clamp(gate x): the gate from above alone, up from both sides. */
export interface ClampConfig {
  readonly limit: number;
  readonly alpha: number;
}

/** A router sends each token to a few of many feed-forward layers (Shazeer et al. 2017); all tokens may share one more. */
export interface ExpertsConfig {
  readonly kind: 'experts';
  /** E */
  readonly count: number;
  readonly perToken: number;
  readonly router: RouterConfig;
  readonly expert: GatedConfig;
  readonly shared: GatedConfig | null;
}

export type RouterConfig =
  /** gpt-oss: the k greatest logits, and their softmax. */
  | { readonly kind: 'top-k-softmax' }
  /**
   * DeepSeek-V3 (DeepSeek-AI 2024, section 2.1.2): experts are chosen by sigmoid + correction, from the groups whose two best add up to
   * most; they are weighed by sigmoid alone.
   */
  | {
      readonly kind: 'grouped-sigmoid';
      readonly groups: number;
      readonly groupsPerToken: number;
      /** Weights are divided by their sum. */
      readonly normalise: boolean;
      /** Factor on the weights. */
      readonly scale: number;
    };

/** Freezes an object and all that it holds. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
