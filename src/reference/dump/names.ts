/** Their names -> ours. */
import type { ModelConfig } from '../../model/config.js';
import { isCanonical } from './canonical.js';
import { type FusedPart, fusedNames } from './fused-names.js';
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
interface NamePair {
  readonly theirs: string;
  readonly ours: string;
  /** Other names that it might have; not empty where their name says less than ours: queries before rope and after it have one name in llama.cpp. */
  readonly alternatives: readonly string[];
  /** Theirs holds queries, keys and values, and ours is one of them; null: it is the whole. */
  readonly fused: FusedPart | null;
}

export interface NameMatch {
  /** One for each of ours that they have. */
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
  const [absent, unknown, fused]: [string[], string[], string[]] = [[], [], []];
  for (const name of theirs) {
    const mapped = map?.(name) ?? null;
    const names = mapped === null ? canonicalNames(name, config) : [mapped];
    const [ours, ...others] = names.filter(has);
    const alternatives = others.filter((other) => `${other}_rope` !== ours); // what says that it is rotated is nothing else
    if (ours !== undefined)
      found.set(ours, [...(found.get(ours) ?? []), { theirs: name, ours, alternatives, fused: null }]);
    else if (names.length > 0) absent.push(name);
    else if (fusedNames(name, config).length > 0) fused.push(name);
    else unknown.push(name);
  }
  const ranked = [...found].map(([ours, pairs]) =>
    pairs.sort((a, b) => directness(b.theirs, ours) - directness(a.theirs, ours)),
  );
  const whole = ranked.map(([best]) => ({
    ...best!,
    alternatives: best!.alternatives.filter((name) => !found.has(name)),
  }));
  const parts = partsOf(fused, (name) => has(name) && !found.has(name), config);
  const used = new Set(parts.map((pair) => pair.theirs));
  const others = ranked.flatMap(([, ...rest]) => rest.map((pair) => pair.theirs));
  return {
    pairs: [...whole, ...parts],
    repeated: [...others, ...fused.filter((name) => !used.has(name))],
    absent,
    unknown,
  };
}

/** Of tensors that hold three, those that are wanted; where two hold the same, of the later one: that has the bias. */
function partsOf(theirs: readonly string[], wanted: (ours: string) => boolean, config: ModelConfig | null): NamePair[] {
  const found = new Map<string, NamePair>();
  for (const name of theirs) {
    for (const { part, ours } of fusedNames(name, config)) {
      if (wanted(ours)) found.set(ours, { theirs: name, ours, alternatives: [], fused: part });
    }
  }
  return [...found.values()];
}

/** The name itself; then what is recorded of attention; then later tensors of a graph, and inner modules before those around them. */
function directness(theirs: string, ours: string): number {
  if (canonicalSpelling(theirs) === ours) return 3000;
  if (/\.(q_rope|k_rope|v|heads|scores|probabilities)$/.test(theirs)) return 2000;
  return 1000 + rankOf(theirs) + theirs.split('.').length;
}
