import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { activation, anything, count, factor } from './common.js';
import { bothBiases, branch, decoder, gated, grouped, headsOf, layer, layersOf, separateHeads } from './decoder.js';
import { family } from './family.js';
import { gemmaEmbedding, gemmaKeys, gemmaNorm } from './gemma.js';
import { ropeOfHeads } from './rope-config.js';
import { attentionTypes, layerTypesOf, visibilitiesOf } from './windows.js';

/** Keys of Gemma 2 and 3. */
export const gemma2Keys = {
  ...gemmaKeys,
  num_key_value_heads: count.default(4),
  hidden_activation: activation.default('gelu_pytorch_tanh'),
  hidden_act: anything, // the same again in the published files, and not read by transformers
  query_pre_attn_scalar: factor.default(256),
  sliding_window: count.nullable().default(4096),
  layer_types: attentionTypes,
  final_logit_softcapping: factor.nullish(),
};

/** Four norms in a layer: before and after attention, before and after the feed-forward layer. */
export const GEMMA2_NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attentionNorms: { input: 'input_layernorm', output: 'post_attention_layernorm' },
  feedForwardNorms: { input: 'pre_feedforward_layernorm', output: 'post_feedforward_layernorm' },
};

/** Gemma 2 (Gemma Team 2024): windows in every other layer, norms on both sides of each part, scores and logits capped by a tanh. */
export const gemma2 = family({
  modelType: 'gemma2',

  keys: {
    ...gemma2Keys,
    final_logit_softcapping: factor.nullable().default(30),
    attn_logit_softcapping: factor.nullable().default(50),
    sliding_window_size: anything, // sliding_window again, in the file of the 9B model
  },

  configure(keys, origin) {
    const norm = gemmaNorm(keys);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const types = layerTypesOf(keys, origin, (i) => (i % 2 === 0 ? 'sliding_attention' : 'full_attention'));
    const visibilities = visibilitiesOf(types, keys.sliding_window, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, rope, {
          scale: 1 / Math.sqrt(keys.query_pre_attn_scalar),
          softcap: keys.attn_logit_softcapping,
        }),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_activation),
        attentionBranch: branch({ inputNorm: norm, outputNorm: norm }),
        feedForwardBranch: branch({ inputNorm: norm, outputNorm: norm }),
      }),
    );
    const head = { softcap: keys.final_logit_softcapping };
    return decoder(keys, { layers, finalNorm: norm, embedding: gemmaEmbedding(keys), head }, origin);
  },

  names: GEMMA2_NAMES,
  keyValueHeads: separateHeads,
});
