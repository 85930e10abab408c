/** What `touchstone diagnose` prints. */
import type { Diagnosis, Explanation } from '../src/reference/diagnose/diagnosis.js';
import { conclusionText, explanationText } from '../src/reference/diagnose/words.js';
import { printable } from './escape.js';
import { wrapped } from './wrap.js';

/** The conclusion first, then what to do about it, and what led to it; ends with a line break. */
export function diagnosisText(found: Diagnosis, columns: number): string {
  const parts = [
    [conclusionText(found)],
    found.conclusion.kind === 'explained' ? adviceLines(found.conclusion.explanations) : [],
    found.conclusion.kind === 'partly' ? adviceLines([found.conclusion.explanation]) : [],
    found.conclusion.kind === 'unknown' ? nearestLines(found) : [],
    aboutLines(found),
    found.notes.map((note) => `- ${note}`),
  ];
  const lines = parts.map((part) => part.flatMap((line) => wrapped(printable(line), Math.max(columns, 40))));
  return `${lines.filter(({ length }) => length > 0).map((part) => part.join('\n')).join('\n\n')}\n`; // biome-ignore format: one thought
}

function adviceLines([best, ...others]: readonly [Explanation, ...Explanation[]]): string[] {
  const several = best.faults.length > 1;
  const advice = best.faults.flatMap(({ name, symptom, fix }) => [
    ...(several ? [`${name}`] : []),
    `symptom: ${symptom}`,
    `fix: ${fix}`,
  ]);
  if (others.length === 0) return advice;
  return [...advice, `cannot be told apart on these tokens: ${others.slice(0, 3).map(explanationText).join('; ')}`];
}

function nearestLines({ nearest }: Diagnosis): string[] {
  const next =
    'next: touchstone compare --bisect says which tensors are wrong by themselves; dump more of those around the first divergence';
  return [...(nearest.length === 0 ? [] : ['nearest:', ...nearest.map((own) => `  ${explanationText(own)}`)]), next];
}

function aboutLines({ first, theirs, ours, dtype, evidence, candidates, runs }: Diagnosis): string[] {
  const tried = candidates > 0 ? `; ${candidates} mistakes that this model can have were tried, in ${runs} runs` : '';
  const by =
    evidence.length > 1
      ? `, by ${evidence.length} of their tensors`
      : evidence.length === 1
        ? `, by ${evidence[0]} alone`
        : '';
  return [
    ...(first === null ? [] : [`first divergence: ${first}`]),
    `${theirs} (${dtype}) against ${ours}${by}${tried}.`,
  ];
}
