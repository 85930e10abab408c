/** Speed of the matrix product in GFLOP/s (2 operations a weight and token), by dtype and number of tokens, on one core. */

import { linear } from '../../src/math/linear.js';
import type { Matrix } from '../../src/tensor/matrix.js';
import { tensor } from '../../src/tensor/tensor.js';

function matrix(dtype: 'F32' | 'F16' | 'BF16', rows: number, columns: number): Matrix {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
  const upper = new Uint32Array(values.buffer);
  const bits =
    dtype === 'F32'
      ? values
      : Uint16Array.from(upper, (word) => (dtype === 'BF16' ? word >>> 16 : 0x3800 + (word & 255)));
  return { name: 'w', dtype, rows, columns, bits };
}

for (const [rows, columns] of [
  [512, 192],
  [192, 512],
  [768, 768],
] as const) {
  for (const dtype of ['F32', 'BF16', 'F16'] as const) {
    const weight = matrix(dtype, rows, columns);
    const speeds = [1, 4, 64].map((tokens) => {
      const x = tensor(
        Float32Array.from({ length: tokens * columns }, (_, i) => Math.cos(i)),
        [tokens, columns],
      );
      const repeats = Math.ceil(4e8 / (2 * rows * columns * tokens));
      let best = 0;
      for (let round = 0; round < 3; round++) {
        const start = performance.now();
        for (let i = 0; i < repeats / 2; i++) linear(x, { weight, bias: null });
        best = Math.max(best, ((repeats / 2) * 2 * rows * columns * tokens) / (performance.now() - start) / 1e6);
      }
      return `${tokens}: ${best.toFixed(2)}`;
    });
    console.log(`[${rows}, ${columns}] ${dtype} GFLOP/s by tokens  ${speeds.join('  ')}`);
  }
}
