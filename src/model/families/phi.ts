import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { activation, codeTakenOver, eps, flag } from './common.js';
import { bareKeys, bothBiases, grouped, headsOf, layer, layerNorm, plain, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  finalNorm: 'model.final_layernorm',
  attention: {
    query: 'self_attn.q_proj',
    key: 'self_attn.k_proj',
    value: 'self_attn.v_proj',
    output: 'self_attn.dense',
    queryNorm: 'self_attn.q_layernorm',
    keyNorm: 'self_attn.k_layernorm',
  },
  feedForward: { dense: { up: 'mlp.fc1', down: 'mlp.fc2' } },
};

/** Phi-1, 1.5 and 2 (Gunasekar et al. 2023; Li et al. 2023): parallel parts after one layer norm, rope on half a head, biases everywhere. */
export const phi = family({
  modelType: 'phi',

  keys: {
    ...bareKeys,
    hidden_act: activation.default('gelu_new'),
    layer_norm_eps: eps.default(1e-5),
    qk_layernorm: flag.default(false),
    auto_map: codeTakenOver('phi'),
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, partial: 0.5, context: keys.max_position_embeddings };
    const qkNorm = keys.qk_layernorm ? ({ norm, scope: 'head', place: 'before-rope' } as const) : null;
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin), { qkNorm }),
      attentionBias: bothBiases(true),
      feedForward: plain(keys.intermediate_size, keys.hidden_act, true),
      parallel: 'one-norm',
      addsBranchesFirst: true,
    });
    return uniform(keys, each, norm, origin, { head: { bias: true } });
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});
