/** Mixtures of experts as configs describe them. */
import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig, RouterConfig } from '../config.js';
import type { ExpertsNames } from './bind-feed-forward.js';
import { count, flag } from './common.js';

export const expertCount = count.max(65536);

type Parts = Pick<ExpertsConfig, 'count' | 'perToken' | 'router' | 'expert'> & Partial<ExpertsConfig>;

/**
 * Experts without a shared one, weighed by their outputs, but for what is given.
 * @param keys what the config calls the numbers, for messages
 * @throws CheckpointError if so many cannot be chosen
 */
export function routed(
  parts: Parts,
  file: string,
  keys: { count: string; perToken: string; groups?: string; groupsPerToken?: string },
): ExpertsConfig {
  const { count: experts, perToken, router } = parts;
  if (perToken > experts) {
    throw new CheckpointError(`${file}: ${keys.perToken} = ${perToken} exceeds ${keys.count} = ${experts}.`);
  }
  if ('groups' in router && router.groups > 1) {
    const { groups, groupsPerToken: open } = router;
    const least = router.kind === 'grouped-sigmoid' ? 2 : 1;
    if (experts % groups !== 0 || experts / groups < least) {
      const size = least === 2 ? 'two or more' : 'one size';
      throw new CheckpointError(
        `${file}: ${keys.count} = ${experts} does not make ${keys.groups} = ${groups} groups of ${size}.`,
      );
    }
    if (open > groups || perToken > (experts / groups) * open) {
      throw new CheckpointError(
        `${file}: ${keys.perToken} = ${perToken} of ${keys.groupsPerToken} = ${open} groups cannot be chosen from ${groups} groups of ${experts / groups}.`,
      );
    }
  }
  return { kind: 'experts', routerBias: false, weighs: 'output', shared: null, ...parts };
}

/** A router of experts that are not grouped, whose weights are the softmax over all. */
export function softmaxTopK(normalise: boolean, scale = 1): RouterConfig & { kind: 'softmax-top-k' } {
  return { kind: 'softmax-top-k', groups: 1, groupsPerToken: 1, normalise, scale };
}

/** The names of most: each expert under its number, with Llama's names. */
export const NUMBERED_EXPERTS: ExpertsNames = {
  router: 'mlp.gate',
  each: (e: number) => ({
    gate: `mlp.experts.${e}.gate_proj`,
    up: `mlp.experts.${e}.up_proj`,
    down: `mlp.experts.${e}.down_proj`,
  }),
};

/** Qwen's keys of experts, and of the layers that have none. */
export const sparseKeys = {
  moe_intermediate_size: count,
  norm_topk_prob: flag.default(false),
  decoder_sparse_step: count.default(1),
  mlp_only_layers: z.array(z.int().nonnegative()).nullish(),
};

type SparseKeys = Pick<z.output<z.ZodObject<typeof sparseKeys>>, 'decoder_sparse_step' | 'mlp_only_layers'>;

/** Every `decoder_sparse_step`-th layer has experts, but for those that are listed. */
export function isSparse({ decoder_sparse_step: step, mlp_only_layers: dense }: SparseKeys, layer: number): boolean {
  return (layer + 1) % step === 0 && !dense?.includes(layer);
}
