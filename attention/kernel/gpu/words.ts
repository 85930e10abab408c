/** Stored codes and scales as the float32 numbers that a device keeps (see layout.ts). */
import type { Stored, StoredStream } from '../../stored.js';
import { type Coded, groupsOf, perWordOf, raisedBy, spanOf } from './layout.js';

/** Packs the codes of `count` rows from row `from` on: words [count, widthOf(stream)]. */
export function wordsInto(
  words: Float32Array,
  { heads, dim }: StoredStream,
  form: Coded,
  stored: Stored,
  from: number,
  count: number,
): void {
  const codes = new Uint16Array(heads * dim);
  const span = spanOf(form, dim);
  let at = 0;
  for (let row = from; row < from + count; row++) {
    codesInto(codes, form, stored, row);
    for (let head = 0; head < codes.length; head += dim) {
      for (let first = head; first < head + dim; first += span) {
        at = packInto(words, at, codes.subarray(first, Math.min(first + span, head + dim)), form);
      }
    }
  }
}

/** The codes of a row, raised so that none is negative. */
function codesInto(codes: Uint16Array, form: Coded, stored: Stored, row: number): void {
  const size = codes.length;
  if (form.bits === 4) {
    const at = row * Math.ceil(size / 2);
    for (let i = 0; i < size; i++) codes[i] = (stored[at + (i >> 1)]! >> (4 * (i & 1))) & 15;
  } else {
    for (let i = 0; i < size; i++) codes[i] = stored[row * size + i]!;
  }
  const raised = raisedBy(form);
  if (raised > 0) for (let i = 0; i < size; i++) codes[i]! ^= raised; // in two's complement the highest bit counts negatively
}

/** Packs the codes of a span, the first lowest. @returns where the next span begins */
function packInto(words: Float32Array, at: number, codes: Uint16Array, form: Coded): number {
  return form.bits === 16 ? pairsInto(words, at, codes) : singlesInto(words, at, codes, perWordOf(form), form.bits);
}

function pairsInto(words: Float32Array, at: number, codes: Uint16Array): number {
  let next = at;
  for (let k = 0; k < codes.length; k += 3) {
    const [second, third] = [codes[k + 1] ?? 0, codes[k + 2] ?? 0];
    words[next++] = codes[k]! + 65536 * (third & 255);
    words[next++] = second + 65536 * (third >> 8);
  }
  return next;
}

function singlesInto(words: Float32Array, at: number, codes: Uint16Array, perWord: number, bits: number): number {
  let next = at;
  for (let k = 0; k < codes.length; k += perWord) {
    let word = 0;
    for (let c = 0; c < perWord; c++) word |= (codes[k + c] ?? 0) << (bits * c);
    words[next++] = word;
  }
  return next;
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
