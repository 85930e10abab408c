/** From scored hypotheses to what a diagnosis says of them. */
import type { Bench } from './bench.js';
import type { Explanation } from './diagnosis.js';
import { isOutsideLayers } from './hypothesis.js';
import type { Score } from './score.js';
import type { Scored } from './search.js';

export function explanationOf({ hypothesis, score }: Scored, { evidence, model }: Bench): Explanation {
  return {
    faults: hypothesis.faults.map((fault) => {
      const { name, group, mistake, symptom, fix } = fault.mutant;
      const where = isOutsideLayers(fault, model) ? null : fault.where;
      return { name, label: fault.label, group, where, mistake, symptom, fix };
    }),
    match: score.relative,
    ratio: score.ratio,
    until: score.parts && (evidence[score.parts.tensor]?.name ?? null),
  };
}

/** What is wrong comes within noise up to another tensor, or nearly all of it vanishes: neither happens by chance. */
export function explainsPartOf(reference: Score, { parts, relative }: Score): boolean {
  const moves = parts !== null && reference.parts !== null && parts.tensor > reference.parts.tensor;
  return relative < reference.relative / (moves ? 1 : NEARLY_ALL);
}

const NEARLY_ALL = 10;

/** Where theirs and ours part by what was gone by. */
export function placeText({ parts }: Score, bench: Bench): string | null {
  if (parts === null) return null;
  const { name, theirName } = bench.evidence[parts.tensor]!;
  return `${name}${name === theirName ? '' : ` (theirs: ${theirName})`}, position ${parts.position}`;
}
