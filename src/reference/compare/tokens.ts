/** Streams of tokens: where the first one differs, and whether that means anything. */
import { argmax } from '../../generate/sampler.js';
import type { Floats } from '../../tensor/tensor.js';
import type { OurTensor } from './align.js';
import type { ComparedDtype, TokenComparison, TokenDifference, Verdict } from './comparison.js';
import type { Size } from './floor.js';
import { tieOf } from './verdict.js';

/**
 * Holds generated tokens against the greedy choice of our logits, row by row: the logits of the same tokens, theirs up to there. Near ties are said, never hidden.
 * @param prompt tokens before the first generated one @param fed the tokens that our logits are of
 */
export function compareTokens(
  theirs: readonly number[],
  prompt: number,
  fed: readonly number[],
  logits: Omit<OurTensor, 'end'>,
  floors: readonly Size[],
  dtype: ComparedDtype,
): TokenComparison | null {
  const differences: TokenDifference[] = [];
  let compared = 0;
  for (const [step, id] of theirs.entries()) {
    const position = prompt + step - 1;
    const row = logits.positions.indexOf(position);
    if (row < 0) continue;
    compared++;
    const difference = differenceAt(id, rowOf(logits, row), tieOf(floors[row]!.max, dtype));
    if (difference) differences.push({ step, position: position + 1, ...difference });
    if (fed[position + 1] !== undefined && fed[position + 1] !== id) break; // what follows is of other tokens
  }
  if (compared === 0) return null;
  const ambiguous = differences.filter((difference) => difference.ambiguous).length;
  const verdict: Verdict =
    differences.length === 0 ? 'identical' : differences.length === ambiguous ? 'within noise' : 'different';
  return { compared, equal: compared - differences.length, verdict, first: differences[0] ?? null, ambiguous };
}

function differenceAt(id: number, row: Floats, tie: number): Omit<TokenDifference, 'step' | 'position'> | null {
  const ours = argmax(row);
  if (ours === id) return null;
  const margin = row[ours]! - (row[id] ?? Number.NEGATIVE_INFINITY);
  return { theirs: id, ours, margin, noise: tie, ambiguous: margin <= tie };
}

function rowOf({ values, shape }: Omit<OurTensor, 'end'>, row: number): Floats {
  return values.subarray(row * shape[1]!, (row + 1) * shape[1]!);
}
