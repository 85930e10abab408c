/** Their names -> ours. */
import type { ModelConfig } from '../../model/config.js';
import { isCanonical } from './canonical.js';
import { llamaCppMeaning, rankOf } from './llama-cpp.js';
import { modulesMeaning } from './modules.js';
import { dotted, placeOf } from './place.js';

/**
 * The names of a trace that a tensor of another implementation may have, the best first: names of a trace in any spelling, paths of modules
 * (transformers, MLX, Meta), names of llama.cpp's graphs. Which of them it is, the trace that it is held against says: the first that it has.
 * @param config of the model, which tells meanings apart that depend on it; null: the usual ones
 */
export function canonicalNames(name: string, config: ModelConfig | null = null): readonly string[] {
  const own = canonicalSpelling(name);
  if (own !== null) return [own];
  const graph = llamaCppMeaning(name, config);
  return graph.length > 0 ? graph : modulesMeaning(placeOf(name), config);
}

/** A trace's own name, whatever stands between its parts: `layer.0/attention/q`, `layers[0].attention.q`. */
function canonicalSpelling(name: string): string | null {
  const found = /^(?:layers?|blocks?)[._]?(\d+)\.(.*)$/.exec(dotted(name));
  const spelled = found ? `layers.${Number(found[1])}.${found[2]}` : dotted(name);
  return isCanonical(spelled) && !META.test(spelled) ? spelled : null;
}

/** Meta's head is called as a layer's output is here, but in no layer. */
const META = /^output$/;

/** A tensor of theirs, and what it is held against. */
export interface NamePair {
  readonly theirs: string;
  readonly ours: string;
  /** Other names that it might have; not empty where their name says less than ours: queries before rope and after it have one name in llama.cpp. */
  readonly alternatives: readonly string[];
}

export interface NameMatch {
  /** One for each of ours that they have, in the order of theirs. */
  readonly pairs: readonly NamePair[];
  /** Theirs that say the same as a pair does, and less directly. */
  readonly repeated: readonly string[];
  /** Theirs whose meaning is known, and which the trace has not. */
  readonly absent: readonly string[];
  /** Theirs that mean nothing here. */
  readonly unknown: readonly string[];
}

export interface NameOptions {
  readonly config?: ModelConfig | null;
  /** What a user says, first of all. */
  readonly map?: (name: string) => string | null;
}

/** Finds out which of their tensors is which of ours. @param has whether the trace has a name */
export function matchNames(
  theirs: Iterable<string>,
  has: (name: string) => boolean,
  { config = null, map }: NameOptions = {},
): NameMatch {
  const found = new Map<string, NamePair[]>();
  const [absent, unknown]: [string[], string[]] = [[], []];
  for (const name of theirs) {
    const mapped = map?.(name) ?? null;
    const names = mapped === null ? canonicalNames(name, config) : [mapped];
    const [ours, ...alternatives] = names.filter(has);
    if (ours === undefined) (names.length > 0 ? absent : unknown).push(name);
    else found.set(ours, [...(found.get(ours) ?? []), { theirs: name, ours, alternatives }]);
  }
  const ranked = [...found].map(([ours, pairs]) =>
    pairs.sort((a, b) => directness(b.theirs, ours) - directness(a.theirs, ours)),
  );
  const free = ({ theirs, ours, alternatives }: NamePair) => ({
    theirs,
    ours,
    alternatives: alternatives.filter((name) => !found.has(name)),
  });
  return {
    pairs: ranked.map(([best]) => free(best!)),
    repeated: ranked.flatMap(([, ...others]) => others.map((pair) => pair.theirs)),
    absent,
    unknown,
  };
}

/** The name itself; then what is recorded of attention; then later tensors of a graph, and inner modules before those around them. */
function directness(theirs: string, ours: string): number {
  if (canonicalSpelling(theirs) === ours) return 3000;
  if (/\.(q_rope|k_rope|v|heads|scores|probabilities)$/.test(theirs)) return 2000;
  return 1000 + rankOf(theirs) + theirs.split('.').length;
}
