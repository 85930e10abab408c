import { prefixed } from './bind.js';
import { anything, flag } from './common.js';
import { bothBiases, decoder, grouped, headsOf, layer, layerNorm, layersOf, plain } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES, GPT_SPELLING, gptKeys, learnedPositions } from './gpt.js';

/** GPT-2 (Radford et al. 2019): learned positions, layer norms, biases everywhere; weights are stored inputs first (`Conv1D`). */
export const gpt2 = family({
  modelType: 'gpt2',

  keys: {
    ...gptKeys,
    scale_attn_weights: flag.default(true),
    /** Scores of layer i are divided by i + 1 (Mistral of Stanford CRFM). */
    scale_attn_by_inverse_layer_idx: flag.default(false),
    reorder_and_upcast_attn: anything, // the precision of scores
    // What the first files say of the tokens of GPT's fine-tuning.
    n_special: anything,
    predict_special_tokens: anything,
  },
  spelling: GPT_SPELLING,

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_epsilon);
    const heads = headsOf(keys, origin);
    const scale = keys.scale_attn_weights ? 1 / Math.sqrt(heads.headDim) : 1;
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, null, { scale: keys.scale_attn_by_inverse_layer_idx ? scale / (i + 1) : scale }),
        attentionBias: bothBiases(true),
        feedForward: plain(keys.n_inner ?? 4 * keys.hidden_size, keys.activation_function, true),
      }),
    );
    const embedding = learnedPositions(keys.max_position_embeddings);
    return decoder(keys, { layers, finalNorm: norm, embedding }, origin);
  },

  names: prefixed('transformer.', { ...GPT_NAMES, storage: 'inputs-first' }),
});
