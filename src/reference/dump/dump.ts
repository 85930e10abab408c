/** What another implementation computed, as named tensors, in any of the forms that people save such in. */
import type { Floats } from '../../tensor/tensor.js';

/** An open dump. Data is read when it is asked for, where the form allows it: a large dump needs little memory. */
export interface Dump {
  /** The file or the folder. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, DumpTensor>;
  /** What the file says of itself; empty where its form has no place for that. */
  readonly metadata: Readonly<Record<string, string>>;
  close(): void;
}

export interface DumpTensor {
  readonly name: string;
  /** As safetensors names them, whatever the form: F64, F32, F16, BF16, F8_E5M2, I64, BOOL, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /**
   * The values in row-major order, each exactly what is stored: F64 and integers (BOOL as 0 and 1) as float64, narrower floats as float32.
   * @throws CheckpointError naming file and tensor: the data is damaged, its dtype has no such values, or an integer lies beyond 2^53
   */
  read(): Floats;
}

export const NO_METADATA: Readonly<Record<string, string>> = {};
