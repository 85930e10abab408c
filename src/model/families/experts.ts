/** Mixtures of experts as configs describe them. */
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig } from '../config.js';
import { count } from './common.js';

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
  return { kind: 'experts', routerBias: false, weighs: 'output', shared: null, sharedGate: false, ...parts };
}

/** A router of experts that are not grouped, whose weights are the softmax over all. */
export function softmaxTopK(normalise: boolean, scale = 1): ExpertsConfig['router'] {
  return { kind: 'softmax-top-k', groups: 1, groupsPerToken: 1, normalise, scale };
}
