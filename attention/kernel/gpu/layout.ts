/**
 * How stored rows lie on a device. Arrays there hold float32 numbers alone, and each holds an integer below 2^24 exactly: 24 bits of codes. So int8
 * takes a third of what float32 takes, and int4 a sixth.
 */
import type { StoredForm, StoredStream } from '../../stored.js';

/** Forms whose values are made of codes. */
export type Coded = Exclude<StoredForm, { kind: 'numbers' }>;

export type Integers = StoredForm & { kind: 'integers' };

const BITS_PER_WORD = 24;

/** Codes that lie whole in a word. */
export function perWordOf({ bits }: Coded): number {
  return Math.floor(BITS_PER_WORD / bits);
}

/** Codes that are read together, and the words that they fill: of 16 bits two lie low in a word each, the halves of a third above them. */
export function unitOf(form: Coded): { readonly codes: number; readonly words: number } {
  return form.bits === 16 ? { codes: 3, words: 2 } : { codes: perWordOf(form), words: 1 };
}

/** Values that begin with a word of their own: those of a head, or those along it that share a scale. The last such group may be shorter. */
export function spanOf(form: Coded, dim: number): number {
  return form.kind === 'integers' && form.along === 'token' ? Math.min(form.group, dim) : dim;
}

/** Words of so many values, the last unit perhaps not full. */
export function wordsOf(form: Coded, values: number): number {
  const { codes, words } = unitOf(form);
  return Math.ceil(values / codes) * words;
}

/** Numbers that a head of a row takes. */
export function headWidthOf({ dim, form }: StoredStream): number {
  if (form.kind === 'numbers') return dim;
  const span = spanOf(form, dim);
  return Math.floor(dim / span) * wordsOf(form, span) + wordsOf(form, dim % span);
}

/** Numbers that a row takes. */
export function widthOf(stream: StoredStream): number {
  return stream.heads * headWidthOf(stream);
}

/** Scales and minima that a run of slots takes: side by side for each group. 0: it has none. */
export function scaleWidthOf({ heads, dim, form }: StoredStream): number {
  if (form.kind !== 'integers') return 0;
  return groupsOf(heads, dim, form) * (form.minima ? 2 : 1);
}

/** Groups of a run of slots. */
export function groupsOf(heads: number, dim: number, { along, group }: Integers): number {
  return along === 'channel' ? heads * dim : heads * Math.ceil(dim / group);
}

/** Slots that share scales. */
export function runOf({ form }: StoredStream): number {
  return form.kind === 'integers' && form.along === 'channel' ? form.group : 1;
}

/**
 * What is taken from a code to have its number. Signed codes lie on a device raised by half their range, so that none is negative: to take that back is
 * exact, and asks for no condition.
 */
export function raisedBy(form: Coded): number {
  return form.kind === 'integers' && form.signed ? 2 ** (form.bits - 1) : 0;
}
