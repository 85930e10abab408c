/** Which positions the rows of their tensors belong to. */
import { RequestError } from '../../errors.js';
import type { Floats } from '../../tensor/tensor.js';
import type { Dump } from '../dump/dump.js';
import { sequenceOf } from './run-tensors.js';

/** The tokens of a dump, as far as it tells: its prompt, and what was generated after it. */
export interface DumpTokens {
  readonly inputIds: readonly number[] | null;
  readonly generatedIds: readonly number[];
}

export function tokensOf(dump: Dump): DumpTokens {
  return { inputIds: sequenceOf(dump, 'input_ids'), generatedIds: sequenceOf(dump, 'generated_ids') ?? [] };
}

/** Lists of positions that a tensor of theirs may have a row for each of, likeliest first. */
export function rowsTheyMayHave(dump: Dump, ourPositions: readonly number[]): (readonly number[])[] {
  const told = sequenceOf(dump, 'positions');
  const { inputIds, generatedIds } = tokensOf(dump);
  const first = (count: number) => Array.from({ length: count }, (_, i) => i);
  const prompt = inputIds
    ? [first(inputIds.length + Math.max(generatedIds.length - 1, 0)), first(inputIds.length)]
    : [];
  return [...(told ? [told] : []), ...prompt, ourPositions];
}

/** Some rows of a tensor of rows of this many values. */
export function gathered(values: Floats, rows: readonly number[], width: number): Floats {
  const chosen = values.slice(0, rows.length * width);
  for (const [i, row] of rows.entries()) chosen.set(values.subarray(row * width, (row + 1) * width), i * width);
  return chosen;
}

/** The tokens of our pass, and what it is called. */
interface OurTokens {
  readonly name: string;
  readonly inputIds: readonly number[];
  readonly generatedIds: readonly number[];
}

/** @throws RequestError where the two prompts are not the same, as far as both go: everything would differ */
export function expectSameTokens(theirs: Dump, ours: OurTokens): void {
  const { inputIds } = tokensOf(theirs);
  if (!inputIds) return;
  const count = Math.min(inputIds.length, ours.inputIds.length);
  const at = inputIds.slice(0, count).findIndex((id, i) => id !== ours.inputIds[i]);
  if (at < 0) return;
  throw new RequestError(
    `${theirs.path}: token ${at} of its input_ids is ${inputIds[at]}, and of ${ours.name} ${ours.inputIds[at]}; both must be of the same tokens.`,
  );
}

/** How many tokens the two passes begin with that are the same, generated ones too; Infinity where theirs does not tell. */
export function commonTokens(theirs: Dump, { inputIds, generatedIds }: OurTokens): number {
  const told = tokensOf(theirs);
  if (!told.inputIds) return Number.POSITIVE_INFINITY;
  const ours = [...inputIds, ...generatedIds];
  const fed = [...told.inputIds, ...told.generatedIds];
  const at = fed.findIndex((id, i) => id !== ours[i]);
  return at < 0 ? fed.length : at;
}
