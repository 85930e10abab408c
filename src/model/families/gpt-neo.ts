import { z } from 'zod';
import { NONE_STORED } from '../../../attention/scores.js';
import { CheckpointError } from '../../errors.js';
import { prefixed } from './bind.js';
import { activation, count, eps, flag, layerCount, type Origin } from './common.js';
import { decoder, grouped, headsOf, layer, layerNorm, layersOf, plain } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES, learnedPositions } from './gpt.js';
import { windowed } from './windows.js';

const kind = z.enum(['global', 'local']);

const keys = {
  vocab_size: count.default(50257),
  hidden_size: count.default(2048),
  num_hidden_layers: layerCount.default(24),
  num_attention_heads: count.default(16),
  max_position_embeddings: count.default(2048),
  intermediate_size: count.nullish(),
  activation_function: activation.default('gelu_new'),
  layer_norm_epsilon: eps.default(1e-5),
  tie_word_embeddings: flag.default(true),
  /** [kinds, how often]: layers have these kinds in turn, so often. */
  attention_types: z.array(z.tuple([z.array(kind), layerCount])).nullish(),
  /** The same, layer by layer. */
  attention_layers: z.array(kind).nullish(),
  window_size: count.default(256),
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/** GPT-Neo (Black et al. 2021): GPT-2 with windows in every other layer, and scores that are not scaled. */
export const gptNeo = family({
  modelType: 'gpt_neo',
  keys,
  spelling: { num_attention_heads: 'num_heads', num_hidden_layers: 'num_layers' },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_epsilon);
    const attention = grouped(headsOf(keys, origin), null, { scale: 1, scoreStores: NONE_STORED });
    const kinds = kindsOf(keys, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: { qkv: false, output: true },
        visibility: windowed(kinds[i] === 'local' ? keys.window_size : null),
        feedForward: plain(keys.intermediate_size ?? 4 * keys.hidden_size, keys.activation_function, true),
      }),
    );
    const embedding = learnedPositions(keys.max_position_embeddings);
    return decoder(keys, { layers, finalNorm: norm, embedding }, origin);
  },

  names: prefixed('transformer.', {
    ...GPT_NAMES,
    attention: {
      query: 'attn.attention.q_proj',
      key: 'attn.attention.k_proj',
      value: 'attn.attention.v_proj',
      output: 'attn.attention.out_proj',
    },
  }),
});

/** What each layer sees; twelve times a global layer and a local one, where a file does not say. */
function kindsOf({ attention_types, attention_layers, num_hidden_layers }: Keys, { file }: Origin) {
  const types = attention_types ?? [[['global', 'local'], 12] as const];
  const expectLayers = (count: number) => {
    if (count === num_hidden_layers) return;
    throw new CheckpointError(
      `${file}: attention_types (or attention_layers) makes ${count} layers, and num_layers = ${num_hidden_layers}.`,
    );
  };
  if (attention_layers) expectLayers(attention_layers.length);
  if (attention_layers && !attention_types) return attention_layers;
  expectLayers(types.reduce((sum, [kinds, times]) => sum + kinds.length * times, 0)); // before so many are written out
  const counted = types.flatMap(([kinds, times]) => Array.from({ length: times }, () => kinds).flat());
  if (!attention_layers || attention_layers.join() === counted.join()) return counted;
  throw new CheckpointError(`${file}: attention_layers and attention_types contradict each other; keep one of them.`);
}
