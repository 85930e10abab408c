import { prefixed } from './bind.js';
import { activation, anything, flag } from './common.js';
import { bothBiases, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES, GPT_SPELLING, gptKeys, learnedPositions } from './gpt.js';

/** GPT-BigCode (Ben Allal et al. 2023, "SantaCoder"; Li et al. 2023, "StarCoder"): GPT-2 whose query heads share one key/value head. */
export const gptBigcode = family({
  modelType: 'gpt_bigcode',

  keys: {
    ...gptKeys,
    activation_function: activation.default('gelu_pytorch_tanh'),
    multi_query: flag.default(true),
    num_key_value_heads: anything, // multi_query says it; transformers writes this beside it, and not always the same
    scale_attn_weights: flag.default(true),
    attention_softmax_in_fp32: anything,
    scale_attention_softmax_in_fp32: anything,
    // Of the code that served it.
    inference_runner: anything,
    max_batch_size: anything,
    pad_key_length: anything,
    pre_allocate_kv_cache: anything,
    runner_max_sequence_length: anything,
    validate_runner_input: anything,
  },
  spelling: GPT_SPELLING,

  configure(keys, origin) {
    const keyValueHeads = keys.multi_query ? 1 : keys.num_attention_heads;
    const norm = layerNorm(keys.layer_norm_epsilon);
    const heads = headsOf({ ...keys, num_key_value_heads: keyValueHeads }, origin);
    const each = layer(norm, {
      attention: grouped(heads, null, keys.scale_attn_weights ? {} : { scale: 1 }),
      attentionBias: bothBiases(true),
      feedForward: plain(keys.n_inner ?? 4 * keys.hidden_size, keys.activation_function, true),
    });
    return uniform(keys, each, norm, origin, { embedding: learnedPositions(keys.max_position_embeddings) });
  },

  // With one key/value head, its group is all there is: the order by group is the order by part.
  names: prefixed('transformer.', {
    ...GPT_NAMES,
    attention: { packed: 'attn.c_attn', order: 'by-group', output: 'attn.c_proj' },
  }),
});
