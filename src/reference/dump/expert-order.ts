/** A router's choice in the order that traces have: experts ascending. Others have them by weight, or in none. */
import { type Floats, floatsLike } from '../../tensor/tensor.js';

/**
 * Where each of ours lies in theirs.
 * @param experts [R, k] their choice, row-major
 * @returns [R, k] places: the i-th expert of a row, ascending, is at `order[i]`
 */
export function expertOrder(experts: Floats, perToken: number): Int32Array {
  const order = Int32Array.from(experts, (_, i) => i);
  for (let from = 0; from + perToken <= order.length; from += perToken) {
    order.subarray(from, from + perToken).sort((a, b) => experts[a]! - experts[b]!);
  }
  return order;
}

/** Values [R, k] (the experts, or their weights) in that order. */
export function ordered(values: Floats, order: Int32Array): Floats {
  const inOrder = floatsLike(values, order.length);
  for (let i = 0; i < order.length; i++) inOrder[i] = values[order[i]!]!;
  return inOrder;
}
