/**
 * What paths of modules stand for: in transformers (whose names mlx-lm, candle and most ports took over), in Meta's reference code, and in what
 * `cli/dumpers/hf_dump.py` adds to them. A module's name is what its output is recorded under.
 *
 * The same name means different things in different models: the embedding's output is what enters layer 0 where nothing is done to it. With the
 * model's config that is known; without it, the usual case is taken.
 */
import type { LayerConfig, ModelConfig } from '../../model/config.js';
import type { Place } from './place.js';
import { runName } from './run-names.js';

/** One layer that a path is in, with its model, where it is known. */
interface Layer {
  readonly index: number;
  readonly own: LayerConfig | null;
  readonly config: ModelConfig | null;
}

type Meaning = (layer: Layer, place: Place) => readonly string[];

/** The names of a trace that a place may have, the best first. */
export function modulesMeaning(place: Place, config: ModelConfig | null): readonly string[] {
  if (place.layer === null) return globalMeaning(place, config);
  const layer = { index: place.layer, own: config?.layers[place.layer] ?? null, config };
  const found = MEANINGS.find(([pattern]) => pattern.test(place.path));
  return (found?.[1](layer, place) ?? []).map((name) =>
    name.startsWith('/') ? name.slice(1) : `layers.${place.layer}.${name}`,
  );
}

const always = (...names: string[]): Meaning => (_, { side }) => (side === 'output' ? names : []); // biome-ignore format: one step

/** A last projection: what comes out, and what goes in. */
const projection = (output: string, input: string): Meaning => (_, { side }) => [side === 'output' ? output : input]; // biome-ignore format: one step

/** Queries, keys or values as projected: not yet what a trace has where they are normed or clipped afterwards. */
const projected = (name: 'q' | 'k' | 'v'): Meaning => ({ own }, { side }) => {
  if (side === 'input') return name === 'q' ? ['attention.input'] : [];
  if (own?.attention.kind !== 'grouped') return [`attention.${name}`];
  const { qkNorm, clip } = own.attention;
  const changed = clip !== null || (name !== 'v' && qkNorm?.place === 'before-rope');
  return changed ? [] : [`attention.${name}`];
}; // biome-ignore format: one step

/** A norm of queries or keys: before rope, or after it (Llama 4). */
const normed = (name: 'q' | 'k'): Meaning => ({ own }, { side }) => {
  if (side === 'input') return [];
  const place = own?.attention.kind === 'grouped' ? own.attention.qkNorm?.place : undefined;
  return place === 'after-rope' ? rotated(name) : place ? [`attention.${name}`] : [`attention.${name}`, ...rotated(name)];
}; // biome-ignore format: one step

/** As they meet in the scores, which is as projected where nothing is done to them. */
const rotated = (name: 'q' | 'k'): string[] => [`attention.${name}_rope`, `attention.${name}`];

/** The same, but that queries which grow with their position (Llama 4) are never as projected. */
const met =
  (name: 'q' | 'k'): Meaning =>
  ({ own }, { side }) => {
    if (side === 'input') return [];
    const grows = name === 'q' && own?.attention.kind === 'grouped' && own.attention.temperature !== null;
    return grows ? ['attention.q_rope'] : rotated(name);
  };

const whole: Meaning = ({ index }, { side }) => {
  if (side === 'output') return ['output'];
  return [index === 0 ? '/embeddings' : `/layers.${index - 1}.output`];
};

/** BLOOM's attention and feed-forward, and MPT's feed-forward, add the residual stream themselves. */
const attention: Meaning = ({ config }, { side }) => {
  if (side === 'input') return ['attention.input'];
  return [config?.family === 'bloom' ? 'attention.residual' : 'attention.output'];
};

const feedForward: Meaning = ({ config }, { side }) => {
  if (side === 'input') return ['feed_forward.input'];
  return [config?.family === 'bloom' || config?.family === 'mpt' ? 'output' : 'feed_forward.output'];
};

/** OPT's norms before the parts are, in its post-norm form, norms of the sums. */
const attentionNorm: Meaning = ({ own }, { side }) => {
  if (side === 'input') return [];
  return own?.attentionBranch.sumNorm ? ['attention.residual'] : ['attention.input'];
};

const lastNorm: Meaning = (layer, place) => {
  if (!layer.own?.feedForwardBranch.sumNorm) return feedForwardNorm(layer, place);
  return place.side === 'output' ? ['output'] : [];
};

/** After attention and before it is added (Gemma 2, OLMo 2), or after that and before the feed-forward (Llama; GLM-4, which has both). */
const postAttention: Meaning = (layer, place) => {
  const { own, config } = layer;
  if (own === null) return place.side === 'output' ? ['attention.output_norm', 'feed_forward.input'] : [];
  const isLast = own.attentionBranch.outputNorm && config?.family !== 'glm4';
  return isLast ? outputNorm('attention')(layer, place) : feedForwardNorm(layer, place);
};

/** The norm before the feed-forward reads the residual stream, unless parts are parallel. */
const feedForwardNorm: Meaning = ({ own }, { side }) => {
  if (side === 'output') return ['feed_forward.input'];
  return own?.parallel ? [] : ['attention.residual'];
};

const outputNorm =
  (part: 'attention' | 'feed_forward'): Meaning =>
  (_, { side }) => [side === 'output' ? `${part}.output_norm` : `${part}.output`];

/** An activation is what the last projection reads where no gate multiplies it. */
const activation: Meaning = ({ own }, { side }) => {
  return side === 'output' && own?.feedForward.kind === 'plain' ? ['feed_forward.hidden'] : [];
};

/** Llama 4 norms queries and keys in one module. */
const queriesThenKeys = (meaning: (name: 'q' | 'k') => Meaning): Meaning => (layer, place) => meaning(place.again === 0 ? 'q' : 'k')(layer, place); // biome-ignore format: one step

const ATTENTION = '(?:self_attn|attn|attention|self_attention|attn\\.attention)';
const FEED_FORWARD = '(?:mlp|ffn|feed_forward|block_sparse_moe|moe|ff)';
const within = (part: string, names: string) => new RegExp(`^${part}\\.(?:${names})$`);

const MEANINGS: readonly (readonly [RegExp, Meaning])[] = [
  [/^$/, whole],
  [new RegExp(`^${ATTENTION}$`), attention],
  [within(ATTENTION, 'q_proj|wq|query|q_b_proj'), projected('q')],
  [within(ATTENTION, 'k_proj|wk|key'), projected('k')],
  [within(ATTENTION, 'v_proj|wv|value'), projected('v')],
  [within(ATTENTION, 'q_norm|q_layernorm|query_norm|q_ln'), normed('q')],
  [within(ATTENTION, 'k_norm|k_layernorm|key_norm|k_ln'), normed('k')],
  [within(ATTENTION, 'qk_norm'), queriesThenKeys(normed)],
  [within(ATTENTION, 'rope|rotary'), queriesThenKeys((name) => always(...rotated(name)))],
  [within(ATTENTION, 'kv_a_layernorm|kv_norm'), always('attention.latent')],
  [within(ATTENTION, 'o_proj|out_proj|dense|c_proj|wo'), projection('attention.output', 'attention.heads')],
  [within(ATTENTION, 'attn_dropout|attention_dropout|softmax|probabilities|probs|weights'), always('attention.probabilities')],
  [/^(?:self_attn|attn|attention|attn\.attention)\.1$/, always('attention.probabilities')], // the second output, in transformers
  [within(ATTENTION, 'q_rope'), met('q')],
  [within(ATTENTION, 'k_rope'), met('k')],
  [within(ATTENTION, 'v'), always('attention.v')],
  [within(ATTENTION, 'scores'), always('attention.scores')],
  [within(ATTENTION, 'heads'), always('attention.heads')],
  [new RegExp(`^${FEED_FORWARD}$`), feedForward],
  [within(FEED_FORWARD, 'down_proj|c_proj|dense_4h_to_h|fc2|fc_out|w2'), projection('feed_forward.output', 'feed_forward.hidden')],
  [/^fc2$/, projection('feed_forward.output', 'feed_forward.hidden')],
  [within(FEED_FORWARD, 'act|act_fn|activation_fn|gelu_impl'), activation],
  [/^activation_fn$/, activation],
  [/^feed_forward\.router$/, () => []], // Llama 4's gives the weights of all experts first
  [/^feed_forward\.router\.1$/, always('router.logits')],
  [within(FEED_FORWARD, 'gate|router'), always('router.logits')],
  [within(FEED_FORWARD, '(?:gate|router)\\.1'), always('router.weights')],
  [within(FEED_FORWARD, '(?:gate|router)\\.2'), always('router.experts')],
  [/^(?:input_layernorm|ln_1|norm_1|norm1|ln_attn|attention_norm|attn_norm|self_attn_layer_norm|input_norm)$/, attentionNorm],
  [/^(?:ln_2|norm_2|norm2|ln_mlp|ffn_norm|mlp_norm|pre_feedforward_layernorm|pre_mlp_layernorm)$/, feedForwardNorm],
  [/^final_layer_norm$/, lastNorm],
  [/^post_attention_layernorm$/, postAttention],
  [/^(?:post_self_attn_layernorm|post_attention_norm|post_attn_norm)$/, outputNorm('attention')],
  [/^(?:post_feedforward_layernorm|post_mlp_layernorm|post_ffw_norm|post_ffn_norm)$/, outputNorm('feed_forward')],
]; // biome-ignore format: a table

/** Outside of layers, by the last part of the path. */
function globalMeaning({ path, side, again }: Place, config: ModelConfig | null): readonly string[] {
  if (side === 'input' || again > 0) return [];
  const ofRun = runName(path);
  if (ofRun) return [ofRun];
  const hidden = /^(?:.*\.)?(?:hidden_states|all_hidden_states)\.(\d+)$/.exec(path);
  if (hidden) return hiddenState(Number(hidden[1]), config);
  const found = GLOBALS.find(([pattern]) => pattern.test(path));
  return found ? found[1](config) : [];
}

/** Hugging Face's `output_hidden_states`: what enters layer 0, then what leaves each layer; the last one is normed. */
function hiddenState(number: number, config: ModelConfig | null): readonly string[] {
  if (number === 0) return ['embeddings'];
  if (config && number >= config.layers.length) return number === config.layers.length ? ['final_norm'] : [];
  return config ? [`layers.${number - 1}.output`] : [`layers.${number - 1}.output`, 'final_norm'];
}

/**
 * Whether rows of the embedding enter layer 0 as they are. A factor, positions and norms may come after the module (Gemma's multiplies by itself in
 * transformers, and not in MLX): then what enters layer 0 tells.
 */
export function tokensEnter({ embedding, width }: ModelConfig): boolean {
  return embedding.scale === 1 && embedding.positions === null && embedding.norm === null && embedding.width === width;
}

const tokens = (config: ModelConfig | null) => (config === null || tokensEnter(config) ? ['embeddings'] : []);

const named = (name: string) => () => [name];

const GLOBALS: readonly (readonly [RegExp, (config: ModelConfig | null) => readonly string[]])[] = [
  [/(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|token_embedding)$/, tokens],
  [/(?:^|\.)(?:word_embeddings_layernorm|drop|emb_dropout|embed_dropout|inputs_embeds)$/, named('embeddings')],
  [/(?:^|\.)(?:norm|ln_f|final_layer_norm|final_layernorm|norm_f|last_hidden_state)$/, named('final_norm')],
  [/^(?:model|transformer|gpt_neox|model\.decoder)$/, (config) => (config && config.embedding.width !== config.width ? [] : ['final_norm'])],
  [/^(?:lm_head|embed_out|output|head)$/, (config) => (config && (config.head.scale !== 1 || config.head.softcap !== null) ? [] : ['logits'])],
  [/^(?:output_logits|scores)$/, named('logits')],
]; // biome-ignore format: a table
