/** In which dtype the other side computes: seen from its values, since a dump may store them wider than they are. */
import { roundTo16, tableOf } from '../../tensor/dtype.js';
import type { Floats } from '../../tensor/tensor.js';
import type { ComparedDtype } from './comparison.js';
import { UNIT_ROUNDOFF } from './floor.js';

/** The narrowest dtype that has all these values; null: they are whole numbers, which say nothing. */
export function dtypeOfValues(values: Floats): ComparedDtype | null {
  if (values.every((value) => Number.isInteger(value) || !Number.isFinite(value))) return null;
  if (values.every((value) => isOf('BF16', value))) return 'bfloat16';
  if (values.every((value) => isOf('F16', value))) return 'float16';
  return values.every((value) => Object.is(Math.fround(value), value) || Number.isNaN(value)) ? 'float32' : 'float64';
}

function isOf(dtype: 'BF16' | 'F16', value: number): boolean {
  return Number.isNaN(value) || tableOf(dtype)![roundTo16(dtype, value)] === value;
}

/**
 * The dtype that most tensors have, the widest of equals. Weights that pass through unchanged (embeddings) say nothing, nor do tensors that are kept wider on
 * purpose (logits, softmax), as long as they are few.
 */
export function dtypeOfDump(each: readonly (ComparedDtype | null)[]): ComparedDtype {
  const counts = new Map<ComparedDtype, number>();
  for (const dtype of each) if (dtype) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  const width = (dtype: ComparedDtype) => UNIT_ROUNDOFF[dtype];
  const [most] = [...counts].sort(([one, a], [other, b]) => b - a || width(one) - width(other));
  return most?.[0] ?? 'float32';
}
