/** Stored bytes and scales as the float32 numbers that a device keeps (see reading.ts). */
import type { Stored, StoredStream } from '../../stored.js';
import { BYTES_PER_WORD, groupsOf } from './reading.js';

/** Packs the bytes of `count` rows from row `from` on, three a number, the first lowest. */
export function wordsInto(
  words: Float32Array,
  width: number,
  stored: Stored,
  rowBytes: number,
  from: number,
  count: number,
): void {
  const bytes = new Uint8Array(stored.buffer, stored.byteOffset + from * rowBytes, count * rowBytes);
  for (let row = 0; row < count; row++) {
    for (let w = 0; w < width; w++) {
      const at = row * rowBytes + w * BYTES_PER_WORD;
      const left = rowBytes - w * BYTES_PER_WORD;
      const [second, third] = [left > 1 ? bytes[at + 1]! : 0, left > 2 ? bytes[at + 2]! : 0];
      words[row * width + w] = bytes[at]! + 256 * second + 65536 * third;
    }
  }
}

/** Scales, beside each its minimum where there are minima, of as many runs of slots as the target holds, from run `first` on. */
export function scalesInto(
  target: Float32Array,
  { heads, dim, form }: StoredStream,
  [scales, minima]: readonly Stored[],
  first: number,
): void {
  if (form.kind !== 'integers') return;
  const from = first * groupsOf(heads, dim, form);
  const each = form.minima ? 2 : 1;
  const read = ({ scaleTable }: typeof form, array: Stored, at: number) => scaleTable?.[array[at]!] ?? array[at]!;
  for (let g = 0; g * each < target.length; g++) {
    target[g * each] = read(form, scales!, from + g);
    if (form.minima) target[g * each + 1] = read(form, minima!, from + g);
  }
}
