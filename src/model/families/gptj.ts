import { z } from 'zod';
import { NONE_STORED } from '../../../attention/scores.js';
import { CheckpointError } from '../../errors.js';
import { prefixed } from './bind.js';
import { count, flag, layerCount } from './common.js';
import { grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES, GPT_SPELLING, gptKeys } from './gpt.js';
import { ropeOf } from './rope-config.js';

/**
 * GPT-J (Wang & Komatsuzaki 2021): attention and feed-forward side by side after one norm, rope over neighbouring values of a part of each head, and
 * a head with a bias.
 */
export const gptj = family({
  modelType: 'gptj',

  keys: {
    ...gptKeys,
    vocab_size: count.default(50400),
    hidden_size: count.default(4096),
    num_hidden_layers: layerCount.default(28),
    num_attention_heads: count.default(16),
    max_position_embeddings: count.default(2048),
    tie_word_embeddings: flag.default(false),
    rotary_dim: count.default(64),
    rotary: z.literal(true, 'there is no GPT-J without rope').optional(),
    scale_attn_weights: z.literal(true, 'GPT-J always scales its scores').optional(),
  },
  spelling: GPT_SPELLING,

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_epsilon);
    const heads = headsOf(keys, origin);
    const { rotary_dim: dim, max_position_embeddings: context } = keys;
    if (dim > heads.headDim) {
      throw new CheckpointError(`${origin.file}: rotary_dim = ${dim} exceeds the head dim ${heads.headDim}.`);
    }
    const rope = ropeOf({}, { dim, what: 'rotary_dim', pairs: 'interleaved', context }, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope, { scoreStores: NONE_STORED }),
      feedForward: plain(keys.n_inner ?? 4 * keys.hidden_size, keys.activation_function, true),
      parallel: 'one-norm',
      addsBranchesFirst: true,
    });
    return uniform(keys, each, norm, origin, { head: { bias: true } });
  },

  names: prefixed('transformer.', {
    ...GPT_NAMES,
    attention: { query: 'attn.q_proj', key: 'attn.k_proj', value: 'attn.v_proj', output: 'attn.out_proj' },
    feedForward: { dense: { up: 'mlp.fc_in', down: 'mlp.fc_out' } },
  }),
});
