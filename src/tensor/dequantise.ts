/** Weights whose codes share scales in blocks -> the numbers that they stand for. */
import { FLOAT4, type FloatBits, type FloatDtype, powersOfTwo } from './dtype.js';

/** A scale for each block of a matrix, row-major [ceil(rows / blockRows), ceil(columns / blockColumns)]: blocks at the edges may be cut. */
export interface ScaleGrid {
  readonly scales: Float32Array;
  readonly blockRows: number;
  readonly blockColumns: number;
}

export interface Dequantised {
  readonly dtype: Extract<FloatDtype, 'F32' | 'BF16'>;
  readonly bits: FloatBits;
}

/**
 * Value of a code x scale of its block, rounded to float32 as PyTorch rounds it: once.
 * @param codes of `count` matrices [rows, columns]
 * @param values of each code as a byte without a sign
 * @param grid with `count` times the scales of a matrix
 */
export function dequantised(
  codes: Uint8Array,
  values: Float32Array,
  [count, rows, columns]: readonly [count: number, rows: number, columns: number],
  { scales, blockRows, blockColumns }: ScaleGrid,
): Dequantised {
  const wide = new Float32Array(codes.length);
  const [across, down] = [Math.ceil(columns / blockColumns), Math.ceil(rows / blockRows)];
  for (let line = 0; line < count * rows; line++) {
    const [matrix, row] = [Math.floor(line / rows), line % rows];
    const first = (matrix * down + Math.floor(row / blockRows)) * across;
    for (let block = 0; block < across; block++) {
      const scale = scales[first + block]!;
      const to = line * columns + Math.min(columns, (block + 1) * blockColumns);
      for (let i = line * columns + block * blockColumns; i < to; i++) wide[i] = values[codes[i]!]! * scale;
    }
  }
  return narrowed(wide);
}

/** The same numbers in half of the memory where bfloat16 has them all, as under scales that are powers of two. */
function narrowed(wide: Float32Array): Dequantised {
  const words = new Uint32Array(wide.buffer);
  for (let i = 0; i < words.length; i++) if ((words[i]! & 0xffff) !== 0) return { dtype: 'F32', bits: wide };
  const bits = new Uint16Array(words.length);
  for (let i = 0; i < bits.length; i++) bits[i] = words[i]! >>> 16;
  return { dtype: 'BF16', bits };
}

/** Values that share a scale in MXFP4. */
export const MXFP4_GROUP = 32;

/**
 * MXFP4 (OCP Microscaling Formats 1.0, section 5.2): 4-bit floats, two in a byte and the lower half first, in groups of 32 with a power of two
 * for each. Every product is a bfloat16 number: 2 significant bits, and no exponent of a scale is so small that the last one is lost.
 * @param blocks [groups, 16]
 * @param scales [groups], codes of F8_E8M0
 */
export function mxfp4ToBfloat16(blocks: Uint8Array, scales: Uint8Array): Uint16Array {
  const powers = powersOfTwo();
  const products = Float32Array.from({ length: 256 * 16 }, (_, i) => FLOAT4[i % 16]! * powers[i >> 4]!);
  const words = Uint16Array.from(new Uint32Array(products.buffer), (word) => word >>> 16);
  const found = new Uint16Array(2 * blocks.length);
  for (let i = 0; i < blocks.length; i++) {
    const [byte, row] = [blocks[i]!, scales[i >> 4]! << 4];
    found[2 * i] = words[row | (byte & 15)]!;
    found[2 * i + 1] = words[row | (byte >> 4)]!;
  }
  return found;
}
