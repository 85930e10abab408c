/** A diagnosis in sentences. */
import type { Conclusion, Diagnosis, ExplainedFault, Explanation } from './diagnosis.js';
import type { Where } from './hypothesis.js';

/** What is wrong, in one sentence or two. */
export function conclusionText({ conclusion, off, verdict }: Diagnosis): string {
  switch (conclusion.kind) {
    case 'within noise':
      return verdict === 'identical'
        ? 'identical: theirs are our numbers, bit for bit.'
        : 'within noise: rounding explains all of the difference, so nothing is wrong.';
    case 'explained':
      return `${conclusion.explanations[0].faults.map(faultText).join(' And ')} (match ${sizeText(conclusion.explanations[0].match)}, reference is off by ${sizeText(off)})`;
    case 'partly':
      return partlyText(conclusion.explanation, off);
    case 'other tokens':
      return otherTokensText(conclusion);
    case 'other shapes':
      return `another model, or another number of tokens: ${conclusion.why}`;
    case 'other checkpoint':
      return `another checkpoint: ${conclusion.why}.`;
    case 'noise':
      return `no output of this checkpoint: ${conclusion.why}.`;
    case 'unknown':
      return `no known mutant explains this (reference is off by ${sizeText(off)}).`;
    default:
      return conclusion satisfies never;
  }
}

function partlyText({ faults, match, until }: Explanation, off: number): string {
  const left = `what is left is ${sizeText(match)}, where reference is off by ${sizeText(off)}, from ${until} on`;
  return `${faults.map(faultText).join(' And ')} That explains a part (${left}); something else may be wrong as well.`;
}

function otherTokensText({ position, given, theirs }: Extract<Conclusion, { kind: 'other tokens' }>): string {
  return `other tokens: at position ${position} theirs is of token ${theirs}, not of ${given}.`;
}

/** "rope-interleaved, at every layer: rope rotates ... " */
function faultText(fault: ExplainedFault): string {
  return `${faultName(fault)}${fault.where === null ? '' : `, ${layersText(fault.where)}`}: ${fault.mistake}.`;
}

function faultName({ name, label }: ExplainedFault): string {
  return label === '' ? name : `${name} (${label})`;
}

function layersText(where: Where): string {
  if (where === 'everywhere') return 'at every layer';
  return 'only' in where ? `at layer ${where.only} alone` : `from layer ${where.from} on`;
}

/** "rope-theta (theta 500000) at layer 2 alone", and how near it comes. */
export function explanationText({ faults, match, until }: Explanation): string {
  const names = faults.map((fault) => (fault.where === null || fault.where === 'everywhere' ? faultName(fault) : `${faultName(fault)} ${layersText(fault.where)}`)); // biome-ignore format: one thought
  return `${names.join(' + ')}: off by ${sizeText(match)}${until === null ? '' : `, from ${until} on`}`;
}

/** Two digits. */
function sizeText(size: number): string {
  if (size === 0) return '0';
  return size >= 0.01 && size < 1000 ? `${Number(size.toPrecision(2))}` : size.toExponential(1);
}
