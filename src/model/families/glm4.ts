import type { DecoderNames } from './bind.js';
import { branch, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { GLM_NAMES, glmKeys, glmLayer } from './glm.js';

const NAMES: DecoderNames = {
  ...GLM_NAMES,
  attentionNorms: { input: 'input_layernorm', output: 'post_self_attn_layernorm' },
  feedForwardNorms: { input: 'post_attention_layernorm', output: 'post_mlp_layernorm' },
};

/** GLM-4-0414 (Zhipu AI 2025, model card): GLM with a norm after each part too. */
export const glm4 = family({
  modelType: 'glm4',
  keys: glmKeys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const sandwich = branch({ inputNorm: norm, outputNorm: norm });
    const each = glmLayer(keys, origin, { attentionBranch: sandwich, feedForwardBranch: sandwich });
    return uniform(keys, each, norm, origin);
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});
