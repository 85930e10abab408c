/** Where the rows of a trace go while it is made: to memory, or to a file that is never whole in memory. */
import { closeSync, existsSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { DTYPE_BITS, type Dtype } from '../../checkpoint/safetensors/header.js';
import { numbersOf } from '../../checkpoint/safetensors/numbers.js';
import { TouchstoneError } from '../../errors.js';
import { removedAtExit } from '../../files.js';
import { roundTo16 } from '../../tensor/dtype.js';
import type { Floats } from '../../tensor/tensor.js';

/** A tensor of a trace. */
export interface PlannedTensor {
  readonly name: string;
  /** How it is stored, whatever the numbers were computed in. */
  readonly dtype: TraceDtype;
  /** [rows, ...], whose first axis is written row by row. */
  readonly shape: readonly number[];
}

export type TraceDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32';

/** Takes tensors row by row, each row once, and gives them back as they are stored. */
export interface TraceSink {
  /**
   * Rows of a planned tensor [rows, ...], from `row` on.
   * @param values [n, ...], row-major: as many rows as there are values for
   * @throws TouchstoneError where the file cannot be written
   */
  write(name: string, row: number, values: ArrayLike<number>): void;
  /** @returns [count, ...] rows from `row` on, rounded to their dtype, row-major */
  read(name: string, row: number, count: number): Floats;
  /** A tensor that was not planned, whole. @param values as many as its shape says, row-major */
  append(tensor: PlannedTensor, values: ArrayLike<number>): void;
}

/** The bytes of numbers in a dtype, each rounded to it, as its file has them. */
function encoded(values: ArrayLike<number>, dtype: TraceDtype): Uint8Array {
  const stored = ARRAYS[dtype](values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

const words = (dtype: 'F16' | 'BF16') => (values: ArrayLike<number>) =>
  Uint16Array.from(values, (value) => roundTo16(dtype, value));

const ARRAYS = {
  F64: (values: ArrayLike<number>) => Float64Array.from(values),
  F32: (values: ArrayLike<number>) => Float32Array.from(values),
  F16: words('F16'),
  BF16: words('BF16'),
  I64: (values: ArrayLike<number>) => BigInt64Array.from(Array.from(values, BigInt)),
  I32: (values: ArrayLike<number>) => Int32Array.from(values),
} as const satisfies Record<TraceDtype, unknown>;

/** The numbers that bytes in memory of their own stand for. */
export function decoded(bytes: ArrayBuffer, dtype: Dtype, name: string, file: string): Floats {
  const numbers = numbersOf({ name, dtype }, bytes, file);
  if (numbers instanceof Float32Array || numbers instanceof Float64Array) return numbers;
  return Float64Array.from(numbers as ArrayLike<number | bigint>, Number);
}

/** How many values and bytes one row of a tensor [rows, ...] has. */
function rowOf({ dtype, shape }: PlannedTensor): { values: number; bytes: number } {
  const values = shape.slice(1).reduce((product, length) => product * length, 1);
  return { values, bytes: (values * DTYPE_BITS[dtype]) / 8 };
}

function bytesOf({ dtype, shape }: PlannedTensor): number {
  return shape.reduce((product, length) => product * length, DTYPE_BITS[dtype] / 8);
}

/** Keeps all tensors in memory. */
export class MemorySink implements TraceSink {
  readonly tensors = new Map<string, { readonly planned: PlannedTensor; readonly bytes: Uint8Array }>();

  constructor(planned: readonly PlannedTensor[]) {
    for (const tensor of planned)
      this.tensors.set(tensor.name, { planned: tensor, bytes: new Uint8Array(bytesOf(tensor)) });
  }

  write(name: string, row: number, values: ArrayLike<number>): void {
    const { planned, bytes } = this.tensors.get(name)!;
    bytes.set(encoded(values, planned.dtype), row * rowOf(planned).bytes);
  }

  read(name: string, row: number, count: number): Floats {
    const { planned, bytes } = this.tensors.get(name)!;
    const length = rowOf(planned).bytes;
    return decoded(bytes.slice(row * length, (row + count) * length).buffer, planned.dtype, name, 'the trace');
  }

  append(tensor: PlannedTensor, values: ArrayLike<number>): void {
    this.tensors.set(tensor.name, { planned: tensor, bytes: encoded(values, tensor.dtype) });
  }
}

/** Writes a safetensors file in place, beside its path until it is whole. */
export class FileSink implements TraceSink {
  private readonly places = new Map<string, { readonly planned: PlannedTensor; readonly begin: number }>();
  private readonly path: string;
  private readonly beside: string;
  private readonly descriptor: number;
  private readonly kept: () => void;
  /** Where the data begins: the room that is kept for the header. */
  private readonly dataStart: number;
  private end = 0;
  private open = true;

  /** @param room bytes of a header that tells of the planned tensors, for those that are appended, and for the metadata */
  constructor(path: string, planned: readonly PlannedTensor[], room: number) {
    this.path = path;
    this.beside = `${path}.${process.pid}.part`;
    const sorted = [...planned].sort((a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype]); // so that each is aligned
    for (const tensor of sorted) this.place(tensor);
    this.dataStart = 8 * Math.ceil((8 + Buffer.byteLength(this.header({})) + room) / 8);
    this.descriptor = this.told(() => openSync(this.beside, 'w+'));
    this.kept = removedAtExit(this.beside);
  }

  write(name: string, row: number, values: ArrayLike<number>): void {
    const { planned, begin } = this.places.get(name)!;
    this.writeAt(this.dataStart + begin + row * rowOf(planned).bytes, encoded(values, planned.dtype));
  }

  read(name: string, row: number, count: number): Floats {
    const { planned, begin } = this.places.get(name)!;
    const { bytes: length } = rowOf(planned);
    const bytes = new Uint8Array(count * length);
    this.told(() => readSync(this.descriptor, bytes, 0, bytes.length, this.dataStart + begin + row * length));
    return decoded(bytes.buffer, planned.dtype, name, this.beside);
  }

  append(tensor: PlannedTensor, values: ArrayLike<number>): void {
    this.place(tensor);
    this.write(tensor.name, 0, values);
  }

  /** Writes the header, and gives the file its name. */
  finish(metadata: Readonly<Record<string, string>>): void {
    const header = Buffer.from(this.header(metadata));
    const room = this.dataStart - 8;
    if (header.length > room) throw new Error(`a header of ${header.length} bytes does not fit into ${room}`);
    const first = Buffer.alloc(this.dataStart, ' ');
    first.writeBigUInt64LE(BigInt(room));
    header.copy(first, 8);
    this.writeAt(0, first);
    this.close();
    this.told(() => renameSync(this.beside, this.path));
    this.kept();
  }

  /** Leaves nothing behind. */
  abandon(): void {
    this.close();
    if (existsSync(this.beside)) rmSync(this.beside);
    this.kept();
  }

  private close(): void {
    if (this.open) closeSync(this.descriptor);
    this.open = false;
  }

  private place(tensor: PlannedTensor): void {
    this.places.set(tensor.name, { planned: tensor, begin: this.end });
    this.end += bytesOf(tensor);
  }

  private header(metadata: Readonly<Record<string, string>>): string {
    const entries = [...this.places.values()].map(({ planned: { name, dtype, shape }, begin }) => {
      const end = begin + bytesOf({ name, dtype, shape });
      return [name, { dtype, shape, data_offsets: [begin, end] }] as const;
    });
    return JSON.stringify(Object.fromEntries([['__metadata__', metadata], ...entries]));
  }

  private writeAt(position: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += this.told(() => writeSync(this.descriptor, bytes, done, bytes.length - done, position + done));
    }
  }

  private told<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (error) {
      throw new TouchstoneError(`${this.path}: cannot be written (${(error as NodeJS.ErrnoException).code ?? error}).`);
    }
  }
}
