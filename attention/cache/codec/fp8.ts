/**
 * Rows as 8-bit floats (OCP FP8, Micikevicius et al. 2023): code = round(x / scale), saturating, and x is read as code * scale. Scales are static,
 * as in vLLM and TensorRT-LLM: they are known before the first row, so that a row's bytes depend on the row alone. Beside them a
 * quantised row takes nothing.
 */
import { UsageError } from '../../../src/errors.js';
import { FLOAT8, type Float8Dtype, float8s, roundTo8 } from '../../../src/tensor/dtype.js';
import { floats } from '../../../src/tensor/tensor.js';
import type { StreamSchema } from '../../streams.js';
import { type RowCodec, storedPart } from './codec.js';
import type { Fp8Format } from './format.js';

const f = Math.fround;

export function fp8Codec(format: Fp8Format, layer: number, stream: StreamSchema): RowCodec {
  const dtype: Float8Dtype = format.dtype === 'fp8_e4m3' ? 'F8_E4M3' : 'F8_E5M2';
  const { heads, dim } = stream;
  const size = heads * dim;
  const table = float8s(dtype);
  const scale_G = scalesOf(format, layer, stream);
  const scales = Float32Array.from({ length: size }, (_, i) => scale_G[Math.floor(i / dim)]!);
  return {
    parts: [storedPart('values', dtype, 1, [heads, dim])],
    form: { kind: 'codes', bits: 8, table, scale_G: format.scale === 'one' ? null : scale_G },
    encode(rows, fromRow, count, [values], toSlot) {
      for (let i = 0; i < count * size; i++) {
        values![toSlot * size + i] = roundTo8(dtype, f(f(rows[fromRow * size + i]!) / scales[i % size]!));
      }
    },
    decode([values], from, count, precision) {
      const found = floats(precision, count * size);
      for (let i = 0; i < found.length; i++) found[i] = f(table[values![from * size + i]!]! * scales[i % size]!);
      return found;
    },
  };
}

/**
 * Each head's scale [G]: the largest |value| comes to the largest code. One scale for the tensor is that of its largest head.
 * @throws UsageError if what was measured is not of this stream
 */
function scalesOf({ dtype, scale, amax }: Fp8Format, layer: number, { name, heads }: StreamSchema): Float32Array {
  if (scale === 'one' || amax === null) return new Float32Array(heads).fill(1);
  const measured = amax[layer]?.[name];
  if (measured?.length !== heads || !measured.every((value) => value >= 0 && Number.isFinite(f(value)))) {
    throw new UsageError(
      `kvDtype ${dtype}: scales need the largest |value| of each of ${heads} heads of '${name}' in layer ${layer}, ` +
        `got ${JSON.stringify(measured ?? null)}; calibrate with the same checkpoint and --attention.`,
    );
  }
  const { largest } = FLOAT8[dtype === 'fp8_e4m3' ? 'F8_E4M3' : 'F8_E5M2'];
  const most = Math.max(...measured);
  // a head of zeros has no scale, and any will do
  return Float32Array.from(measured, (own) => f(f(scale === 'tensor' ? most : own) / largest) || 1);
}
