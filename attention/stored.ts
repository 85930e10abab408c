/** Rows as a cache keeps them: what a kernel needs that reads codes itself, or keeps a copy of the rows on a device. */

/** What an array holds, by its safetensors name. */
export type StoredDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2' | 'U8';

export type Stored = Float64Array | Float32Array | Uint16Array | Uint8Array;

/** How a value of a row [heads, dim] is made of what is stored, i counting the values of the row. */
export type StoredForm =
  /** It is stored. */
  | { readonly kind: 'numbers' }
  /** table[code i] * scale of its head. */
  | {
      readonly kind: 'codes';
      readonly bits: 8 | 16;
      readonly table: Float32Array;
      /** [heads]; null: 1 */
      readonly scale_G: Float32Array | null;
    }
  /**
   * code i * scale of its group (+ minimum of its group). Groups run along a token's head, `group` values each, the last one perhaps fewer; or along a channel,
   * `group` slots each. Of 4 bits the even code lies in the low half of a byte, and a row begins with a byte.
   */
  | {
      readonly kind: 'integers';
      readonly bits: 4 | 8;
      /** In two's complement. */
      readonly signed: boolean;
      readonly minima: boolean;
      readonly group: number;
      readonly along: 'token' | 'channel';
      /** Of scales and minima: what stands for a code in their arrays; null: they are numbers. */
      readonly scaleTable: Float32Array | null;
    };

/** A stream of a store. Its arrays are values, then scales and minima where its form has them. */
export interface StoredStream {
  readonly name: string;
  readonly heads: number;
  readonly dim: number;
  readonly form: StoredForm;
}

/** The rows of one layer in slots 0, 1, ... */
export interface RowStore {
  /** What all stores of a layer have in common: the same object in each. */
  readonly kind: StoredKind;
  readonly capacity: number;
  /** The arrays of a stream, in the order of `kind.streams`. Another set of them after a change of capacity. */
  arraysOf(stream: number): readonly Stored[];
  /** Tells of every change from now on. */
  watch(watcher: StoreWatcher): void;
}

export interface StoredKind {
  readonly streams: readonly StoredStream[];
  /** Rows come and go by runs of this many slots. */
  readonly alignment: number;
}

export interface StoreWatcher {
  /** It wants to hear of changes still. */
  readonly active: boolean;
  /** `count` slots from `slot` on have other rows now. */
  wrote(slot: number, count: number): void;
  /** There are `capacity` slots now, of which the first `keep` are as they were. */
  resized(capacity: number, keep: number): void;
}

/** Where the rows of a block are kept: in `store`, the first in slot `from`, the others after it. */
export interface StoredRows {
  readonly store: RowStore;
  readonly from: number;
}
