/** Parts of config.json that most families share. */
import { z } from 'zod';
import { ACTIVATION_NAMES, type Activation } from '../../math/elementwise.js';

/** A size; far beyond any model, so that a wrong one is refused before memory is asked for. */
export const count = z
  .int()
  .positive()
  .max(2 ** 24);
export const layerCount = count.max(4096);
/** A number of layers or experts that may be 0. */
export const some = z.int().nonnegative().max(4096);
export const flag = z.boolean();
export const eps = z.number().positive();
export const factor = z.number().positive();
export const activation = z.enum(ACTIVATION_NAMES as readonly [Activation, ...Activation[]]);
export const anything = z.unknown().optional();

/**
 * `auto_map` of files that came with code which transformers has taken over since, by the name of its module. Code of another name might compute
 * anything, and the key is not understood where no code was ever taken over.
 */
export function codeTakenOver(module: string) {
  const ours = z
    .string()
    .regex(new RegExp(`(^|--)modeling_${module}\\.`), `code of its own; only modeling_${module} is known`);
  return z.looseObject({ AutoModelForCausalLM: ours.optional() }).optional();
}

/** A switch that is understood only where it is off. */
const off = z.literal(false, 'only decoder-only models are supported').optional();

function ignored<Key extends string>(...keys: Key[]): Record<Key, typeof anything> {
  return Object.fromEntries(keys.map((key) => [key, anything])) as Record<Key, typeof anything>;
}

/**
 * Keys that do not change what a forward pass computes: training settings, bookkeeping, tokens' roles, switches for outputs
 * that are not asked for. They are listed, so that a key that is neither used nor here is an error.
 */
export const inertKeys = {
  ...ignored(
    // bookkeeping and training
    '_attn_implementation',
    '_attn_implementation_autoset',
    '_flash_attn_2_enabled',
    '_name_or_path',
    'activation_dropout',
    'architectures',
    'attention_dropout',
    'attn_implementation',
    'attn_pdrop',
    'classifier_dropout',
    'custom_pipelines',
    'dropout',
    'dtype',
    'embd_pdrop',
    'embed_dropout',
    'finetuning_task',
    'gradient_checkpointing',
    'hidden_dropout',
    'init_std',
    'initializer_range',
    'router_aux_loss_coef',
    'router_jitter_noise',
    'layerdrop',
    'pretraining_tp', // splits the same sums over devices
    'resid_dropout',
    'resid_pdrop',
    'torch_dtype',
    'transformers_version',
    // tokens' roles, and what generation_config.json says today
    'bad_words_ids',
    'begin_suppress_tokens',
    'bos_token_id',
    'cache_implementation',
    'decoder_start_token_id',
    'diversity_penalty',
    'do_sample',
    'early_stopping',
    'encoder_no_repeat_ngram_size',
    'eos_token_id',
    'exponential_decay_length_penalty',
    'forced_bos_token_id',
    'forced_eos_token_id',
    'length_penalty',
    'max_length',
    'max_sequence_length',
    'min_length',
    'model_max_length',
    'no_repeat_ngram_size',
    'num_beam_groups',
    'num_beams',
    'num_return_sequences',
    'pad_token_id',
    'prefix',
    'remove_invalid_values',
    'repetition_penalty',
    'sep_token_id',
    'suppress_tokens',
    'temperature',
    'tokenizer_class',
    'transformers.js_config',
    'top_k',
    'top_p',
    'typical_p',
    'unk_token_id',
    'unsloth_fixed',
    'unsloth_version',
    'use_cache',
    // outputs that are not asked for, and heads other than a language model's
    '_num_labels',
    'chunk_size_feed_forward',
    'id2label',
    'label2id',
    'num_labels',
    'output_attentions',
    'output_hidden_states',
    'output_router_logits',
    'output_past',
    'output_scores',
    'problem_type',
    'return_dict',
    'return_dict_in_generate',
    'summary_activation',
    'summary_first_dropout',
    'summary_proj_to_labels',
    'summary_type',
    'summary_use_proj',
    'task_specific_params',
    'tf_legacy_loss',
    'torchscript',
    'use_bfloat16',
  ),
  add_cross_attention: off,
  is_decoder: z.boolean().optional(),
  is_encoder_decoder: off,
  pruned_heads: z.strictObject({}).optional(),
  tie_encoder_decoder: off,
};

/** Where a config was read, and what was asked of it. */
export interface Origin {
  readonly file: string;
  /** The sequence length that a rope which depends on it is made for; null: the length that the model was trained on. */
  readonly ropeLength: number | null;
}
