import { LLAMA_NAMES } from './bind.js';
import { count } from './common.js';
import { gated, separateHeads } from './decoder.js';
import { expertCount, routed } from './experts.js';
import { family } from './family.js';
import { graniteKeys, graniteModel } from './granite.js';

/** Granite 3.0's mixtures (IBM 2024): Granite's four factors, and experts weighed by the softmax over the chosen ones. */
export const granitemoe = family({
  modelType: 'granitemoe',

  keys: {
    ...graniteKeys,
    num_local_experts: expertCount.default(8),
    num_experts_per_tok: count.default(2),
  },

  configure(keys, origin) {
    const experts = routed(
      {
        count: keys.num_local_experts,
        perToken: keys.num_experts_per_tok,
        router: { kind: 'top-k-softmax' },
        expert: gated(keys.intermediate_size, keys.hidden_act),
      },
      origin.file,
      { count: 'num_local_experts', perToken: 'num_experts_per_tok' },
    );
    return graniteModel(keys, experts, origin);
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
