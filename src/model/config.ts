import type { AttentionConfig } from '../../attention/strategy/strategy.js';
import type { VisibilityConfig } from '../../attention/visibility/index.js';
import type { Activation } from '../math/elementwise.js';
import type { NormConfig } from '../math/norm.js';

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
  readonly embedding: EmbeddingConfig;
  readonly layers: readonly LayerConfig[];
  /** null: the last layer ends in a norm (OPT-350m). */
  readonly finalNorm: NormConfig | null;
  readonly head: HeadConfig;
  /** The longest sequence that the model was made for, in tokens. */
  readonly context: number;
  /** That length where the rope depends on it (dynamic, longrope): for another length it is another model. null: it does not. */
  readonly ropeLength: number | null;
}

export interface EmbeddingConfig {
  /** Of a token's row: D, or another width that a projection leads from and to (OPT's `word_embed_proj_dim`). */
  readonly width: number;
  /** Factor on a token's row: sqrt(D) in Gemma, 1 in most. */
  readonly scale: number;
  /** The factor is a tensor in transformers, which an emulated precision rounds (Gemma), and no number of the config. */
  readonly scaleIsTensor?: boolean;
  /** Learned positions, added to the tokens (Radford et al. 2018, GPT); null: none. */
  readonly positions: LearnedPositions | null;
  /** Of what is embedded (BLOOM); null: none. */
  readonly norm: NormConfig | null;
}

export interface LearnedPositions {
  /** Positions that there are rows for. */
  readonly count: number;
  /** The row of position 0: OPT begins at row 2. */
  readonly first: number;
}

/** From the last hidden state to logits. */
export interface HeadConfig {
  /** The embedding matrix is the output head too. */
  readonly tied: boolean;
  readonly bias: boolean;
  /** Factor on the logits. */
  readonly scale: number;
  /** transformers has it on the hidden states (MiniCPM3), which matters to an emulated precision alone. */
  readonly scalesHidden?: boolean;
  /** Logits are cap tanh(logit / cap) (Gemma 2); null: as they are. */
  readonly softcap: number | null;
}

/** A block of the transformer: attention and feed-forward, each on a branch that is added to the residual stream. */
export interface LayerConfig {
  readonly attention: AttentionConfig;
  /** Which of attention's projections have a bias. */
  readonly attentionBias: { readonly qkv: boolean; readonly output: boolean };
  readonly visibility: VisibilityConfig;
  readonly feedForward: FeedForwardConfig;
  readonly attentionBranch: BranchConfig;
  readonly feedForwardBranch: BranchConfig;
  /**
   * Both branches begin at the layer's input (Wang & Komatsuzaki 2021, GPT-J: x + attention(norm x) + feedForward(norm x)), and not the
   * second where the first was added. They have norms of their own before them (GPT-NeoX), or that of attention is the norm of both (GPT-J); null:
   * they are not parallel.
   */
  readonly parallel: 'own-norms' | 'one-norm' | null;
  /** Whether transformers adds parallel branches to each other, and then to what they began at, which matters to an emulated precision alone. */
  readonly addsBranchesFirst?: boolean;
}

/** A branch of the residual stream: sumNorm(x + scale outputNorm(part(inputNorm x))). A norm that is null is not there. */
export interface BranchConfig {
  /** Before the part: pre-norm (Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture"). */
  readonly inputNorm: NormConfig | null;
  /** After the part, before it is added: OLMo 2, and with an input norm the sandwich of Gemma 2. */
  readonly outputNorm: NormConfig | null;
  /** After it is added: post-norm (Vaswani et al. 2017). */
  readonly sumNorm: NormConfig | null;
  /** The normed input is what the part is added to (`apply_residual_connection_post_layernorm` of BLOOM); not where branches are parallel. */
  readonly addsToNormed: boolean;
  /** Factor on what is added (Granite's `residual_multiplier`). */
  readonly scale: number;
}

export type FeedForwardConfig = DenseConfig | ExpertsConfig;

/** A feed-forward layer that all tokens go through. */
export type DenseConfig = PlainConfig | GatedConfig;

/** down(activation(up x)) (Vaswani et al. 2017, equation 2). */
export interface PlainConfig {
  readonly kind: 'plain';
  /** F */
  readonly width: number;
  readonly activation: Activation;
  readonly bias: boolean;
}

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
  readonly routerBias: boolean;
  /**
   * What of routing transformers rounds, which matters to an emulated precision alone: logits and weights (the default), `logits` alone (Mixtral), or
   * neither, all of it being float32 (DeepSeek).
   */
  readonly routerStores?: 'logits' | 'nothing';
  /** What the router's weights multiply: the experts' outputs, or their inputs (Llama 4). */
  readonly weighs: 'output' | 'input';
  readonly expert: GatedConfig;
  readonly shared: SharedExpertConfig | null;
}

export interface SharedExpertConfig {
  readonly feedForward: GatedConfig;
  /** Its output is multiplied by the sigmoid of a projection of the token to one number (Qwen2-MoE). */
  readonly gate: boolean;
}

export type RouterConfig =
  /** gpt-oss, Granite: the k greatest logits, and their softmax. */
  | { readonly kind: 'top-k-softmax' }
  /** Llama 4: the k greatest logits, and the sigmoid of each. */
  | { readonly kind: 'top-k-sigmoid' }
  /**
   * The k greatest of the softmax over all experts (Fedus et al. 2021, "Switch Transformers", equation 1), from the groups whose best
   * expert is greatest where there are groups (DeepSeek-V2, section 2.2.2).
   */
  | ({ readonly kind: 'softmax-top-k' } & GroupedRouting)
  /**
   * DeepSeek-V3 (DeepSeek-AI 2024, section 2.1.2): experts are chosen by sigmoid + correction, from the groups whose two best add up to
   * most; they are weighed by sigmoid alone.
   */
  | ({ readonly kind: 'grouped-sigmoid' } & GroupedRouting);

export interface GroupedRouting {
  /** 1: experts are not grouped. */
  readonly groups: number;
  readonly groupsPerToken: number;
  /** Weights are divided by their sum. */
  readonly normalise: boolean;
  /** Factor on the weights. */
  readonly scale: number;
}

/** Freezes an object and all that it holds. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
