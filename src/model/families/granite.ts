import { LLAMA_NAMES } from './bind.js';
import { factor, flag } from './common.js';
import {
  bothBiases,
  branch,
  decoder,
  decoderKeys,
  gated,
  grouped,
  headsOf,
  layer,
  layersOf,
  rms,
  separateHeads,
} from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

/** Granite 3 (IBM 2024): Llama with four factors, of what is embedded, of scores, of what a part adds, and of logits. */
export const granite = family({
  modelType: 'granite',

  keys: {
    ...decoderKeys,
    attention_bias: flag.default(false),
    mlp_bias: flag.default(false),
    embedding_multiplier: factor.default(1),
    attention_multiplier: factor.default(1), // it stands for 1 / sqrt(head dim), and does not multiply it
    residual_multiplier: factor.default(1),
    logits_scaling: factor.default(1), // logits are divided by it
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const scaled = branch({ inputNorm: norm, scale: keys.residual_multiplier });
    const each = layer(norm, {
      attention: grouped(heads, rope, { scale: keys.attention_multiplier }),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias),
      attentionBranch: scaled,
      feedForwardBranch: scaled,
    });
    const parts = {
      layers: layersOf(keys.num_hidden_layers, () => each),
      finalNorm: norm,
      embedding: { scale: keys.embedding_multiplier },
      head: { scale: 1 / keys.logits_scaling },
    };
    return decoder(keys, parts, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
