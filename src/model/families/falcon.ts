import { z } from 'zod';
import { alibiSlopes, NONE_STORED } from '../../../attention/scores.js';
import type { GroupedConfig } from '../../../attention/strategy/strategy.js';
import { CheckpointError } from '../../errors.js';
import { roundToBfloat16 } from '../../tensor/dtype.js';
import type { LayerConfig } from '../config.js';
import { prefixed } from './bind.js';
import { BLOOM_NAMES } from './bloom.js';
import { activation, anything, codeTakenOver, count, eps, flag, layerCount, type Origin } from './common.js';
import { bothBiases, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeKeys, ropeOfHeads } from './rope-config.js';

const keys = {
  ...ropeKeys,
  vocab_size: count.default(65024),
  hidden_size: count.default(4544),
  num_hidden_layers: layerCount.default(32),
  num_attention_heads: count.default(71),
  num_kv_heads: count.nullish(),
  max_position_embeddings: count.default(2048),
  layer_norm_epsilon: eps.default(1e-5),
  ffn_hidden_size: count.nullish(),
  activation: activation.default('gelu'),
  alibi: flag.default(false),
  bias: flag.default(false),
  multi_query: flag.default(true),
  new_decoder_architecture: flag.default(false),
  num_ln_in_parallel_attn: z.union([z.literal(1), z.literal(2)]).nullish(),
  parallel_attn: flag.default(true),
  tie_word_embeddings: flag.default(true),
  apply_residual_connection_post_layernorm: z.literal(false, 'Falcon adds to what was not normed').optional(),
  auto_map: codeTakenOver('falcon'),
  ff_factor: anything, // ffn_hidden_size says it
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/**
 * Falcon (Almazrouei et al. 2023): attention and feed-forward side by side, and few key/value heads: one in its first form, after one norm, some in its
 * second (`new_decoder_architecture`), each part after a norm of its own. The RefinedWeb models have ALiBi, and one part after the other.
 */
export const falcon = family({
  modelType: 'falcon',
  keys,
  spelling: { hidden_size: 'n_embed' },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_epsilon);
    const each = layer(norm, {
      attention: attentionOf(keys, origin),
      attentionBias: bothBiases(keys.bias),
      feedForward: plain(keys.ffn_hidden_size ?? 4 * keys.hidden_size, keys.activation, keys.bias),
      parallel: parallelOf(keys, origin),
      addsBranchesFirst: true,
    });
    return uniform(keys, each, norm, origin);
  },

  names: (config, file) => {
    const storage = 'outputs-first, bias apart';
    const names = prefixed('transformer.', { ...BLOOM_NAMES, storage })(config, file);
    const twoNorms = config.layers.some(({ parallel }) => parallel === 'own-norms');
    return twoNorms ? { ...names, attentionNorms: { input: 'ln_attn' }, feedForwardNorms: { input: 'ln_mlp' } } : names;
  },
});

/** Whether the parts are side by side, and after how many norms. @throws CheckpointError for forms that transformers cannot run either */
function parallelOf(
  { new_decoder_architecture: second, num_ln_in_parallel_attn: given, parallel_attn: parallel }: Keys,
  { file }: Origin,
): LayerConfig['parallel'] {
  if (second && !parallel) {
    throw new CheckpointError(`${file}: new_decoder_architecture = true contradicts parallel_attn = false.`);
  }
  if (!second && parallel && given === 2) {
    throw new CheckpointError(`${file}: num_ln_in_parallel_attn = 2 needs new_decoder_architecture = true.`);
  }
  if (!parallel) return null;
  return second && given !== 1 ? 'own-norms' : 'one-norm';
}

function attentionOf(keys: Keys, origin: Origin): GroupedConfig {
  const heads = headsOf({ ...keys, num_key_value_heads: keyValueHeadsOf(keys, origin) }, origin);
  if (!keys.alibi) {
    return grouped(heads, ropeOfHeads(keys, heads, origin));
  }
  const slopes = alibiSlopes(heads.queryHeads).map(roundToBfloat16);
  // ALiBi is added before scores are scaled.
  const alibi = { slopes, form: 'bfloat16', factor: 1 / Math.sqrt(heads.headDim) } as const;
  // The eager attention of transformers adds it twice; what is followed is the fused one (sdpa), whose scores are float32.
  return grouped(heads, null, { alibi, scoreStores: NONE_STORED });
}

/** `num_kv_heads` counts in the second form alone; in the first, multi_query says how many there are. @throws CheckpointError naming both keys */
function keyValueHeadsOf(
  { num_attention_heads: all, num_kv_heads: given, new_decoder_architecture: second, multi_query: single }: Keys,
  { file }: Origin,
): number {
  if (second && all % (given ?? all) !== 0) {
    throw new CheckpointError(`${file}: num_attention_heads = ${all} is not a multiple of num_kv_heads = ${given}.`);
  }
  if (second) return given ?? all;
  if (single) return 1;
  if (given == null || given === all) return all;
  throw new CheckpointError(
    `${file}: num_kv_heads = ${given} contradicts multi_query = false, which makes them num_attention_heads = ${all}.`,
  );
}
