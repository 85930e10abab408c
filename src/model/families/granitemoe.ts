import { LLAMA_NAMES } from './bind.js';
import { count, factor, flag } from './common.js';
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
import { expertCount, routed } from './experts.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

/** Granite 3.0's mixtures (IBM 2024): Granite's four factors, and experts weighed by the softmax over the chosen ones. */
export const granitemoe = family({
  modelType: 'granitemoe',

  keys: {
    ...decoderKeys,
    attention_bias: flag.default(false),
    embedding_multiplier: factor.default(1),
    attention_multiplier: factor.default(1), // where a file is silent, it is not 1 / sqrt(head dim)
    residual_multiplier: factor.default(1),
    logits_scaling: factor.default(1),
    num_local_experts: expertCount.default(8),
    num_experts_per_tok: count.default(2),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = branch({ inputNorm: norm, scale: keys.residual_multiplier });
    const own = layer(norm, {
      attention: grouped(heads, rope, { scale: keys.attention_multiplier }),
      attentionBias: bothBiases(keys.attention_bias),
      attentionBranch: each,
      feedForwardBranch: each,
      feedForward: routed(
        {
          count: keys.num_local_experts,
          perToken: keys.num_experts_per_tok,
          router: { kind: 'top-k-softmax' },
          expert: gated(keys.intermediate_size, keys.hidden_act),
        },
        origin.file,
        { count: 'num_local_experts', perToken: 'num_experts_per_tok' },
      ),
    });
    return decoder(
      keys,
      {
        layers: layersOf(keys.num_hidden_layers, () => own),
        finalNorm: norm,
        embedding: { scale: keys.embedding_multiplier },
        head: { scale: 1 / keys.logits_scaling },
      },
      origin,
    );
  },

  names: {
    ...LLAMA_NAMES,
    feedForward: {
      ...LLAMA_NAMES.feedForward,
      experts: {
        router: 'block_sparse_moe.router.layer',
        each: {
          gateUp: 'block_sparse_moe.input_linear.weight',
          down: 'block_sparse_moe.output_linear.weight',
          storage: 'outputs-first',
          order: 'halves',
        },
      },
    },
  },
  keyValueHeads: separateHeads,
});
