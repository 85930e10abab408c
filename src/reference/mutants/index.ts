/** All mutants, and those that a model can have. */
import { UsageError } from '../../errors.js';
import type { Model } from '../../model/load.js';
import { nearestOf } from '../dump/canonical.js';
import { inNamedForm } from '../trace/index.js';
import { ALIBI_MUTANTS } from './alibi.js';
import { CACHE_MUTANTS } from './cache.js';
import { EXPERT_MUTANTS } from './experts.js';
import { FEED_FORWARD_MUTANTS } from './feed-forward.js';
import { HEAD_MUTANTS } from './heads.js';
import { LATENT_MUTANTS } from './latent.js';
import { type Candidate, MUTANT_GROUPS, type Mutant, nameOf } from './mutant.js';
import { NARROW_MUTANTS } from './narrow.js';
import { NORM_PLACE_MUTANTS } from './norm-places.js';
import { NORM_MUTANTS } from './norms.js';
import { OUTPUT_MUTANTS } from './output.js';
import { POSITION_MUTANTS } from './positions.js';
import { PROJECTION_MUTANTS } from './projections.js';
import { QK_NORM_MUTANTS } from './qk-norms.js';
import { QUANTISED_MUTANTS } from './quantised.js';
import { RESIDUAL_MUTANTS } from './residual.js';
import { ROPE_MUTANTS } from './rope.js';
import { ROPE_FREQUENCY_MUTANTS } from './rope-frequencies.js';
import { SAVED_MUTANTS } from './saved.js';
import { SCORE_MUTANTS } from './scores.js';
import { SIGHT_MUTANTS } from './sight.js';
import { TOKEN_MUTANTS } from './tokens.js';

export {
  type Candidate,
  type FedTokens,
  MUTANT_GROUPS,
  type Mutant,
  type MutantGroup,
  type Mutation,
  type Parts,
  type Variant,
} from './mutant.js';

/** By group, in the order in which a pass meets them. */
export const MUTANTS: readonly Mutant[] = [
  ...TOKEN_MUTANTS,
  ...OUTPUT_MUTANTS,
  ...ROPE_MUTANTS,
  ...ROPE_FREQUENCY_MUTANTS,
  ...POSITION_MUTANTS,
  ...ALIBI_MUTANTS,
  ...SIGHT_MUTANTS,
  ...HEAD_MUTANTS,
  ...PROJECTION_MUTANTS,
  ...SCORE_MUTANTS,
  ...QK_NORM_MUTANTS,
  ...NORM_MUTANTS,
  ...NORM_PLACE_MUTANTS,
  ...RESIDUAL_MUTANTS,
  ...FEED_FORWARD_MUTANTS,
  ...EXPERT_MUTANTS,
  ...LATENT_MUTANTS,
  ...CACHE_MUTANTS,
  ...QUANTISED_MUTANTS,
  ...NARROW_MUTANTS,
  ...SAVED_MUTANTS,
].sort((a, b) => MUTANT_GROUPS.indexOf(a.group) - MUTANT_GROUPS.indexOf(b.group));

/** Every way in which a model can have every mutant, as `runMutated` runs it. */
export function candidatesFor(given: Model): Candidate[] {
  const model = inNamedForm(given, { capture: 'all' });
  return MUTANTS.flatMap((mutant) =>
    mutant.variants(model).map((variant) => ({ mutant, variant, name: nameOf(mutant, variant) })),
  );
}

/** @throws UsageError for a name that there is not */
export function mutantNamed(name: string): Mutant {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found) return found;
  const names = MUTANTS.map((mutant) => mutant.name);
  throw new UsageError(
    `There is no mutant ${name}; did you mean ${nearestOf(name, names)}? (touchstone mutants lists them)`,
  );
}

/** Why two mutants may compute the same; null: they should not. */
export function sameAs(a: Mutant, b: Mutant): string | null {
  return a.sameAs?.[b.name] ?? b.sameAs?.[a.name] ?? null;
}
