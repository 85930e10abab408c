import { describe, expect, it } from 'vitest';
import { ShapeError } from '../../src/errors.js';
import { expectShape, flat, rowsOf, tensor } from '../../src/tensor/tensor.js';

const x_THK = tensor(
  Float32Array.from({ length: 24 }, (_, i) => i),
  [2, 3, 4],
);

describe('tensors', () => {
  it('are refused if size and shape disagree', () => {
    expect(() => tensor(new Float32Array(5), [2, 3])).toThrow('A tensor of shape [2, 3] needs 6 values, got 5.');
  });

  it('give rows as views', () => {
    const last = rowsOf(x_THK, 1, 2);
    expect(last.shape).toEqual([1, 3, 4]);
    expect(Array.from(flat(last))).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
    last.set(0, 0, 0, 99);
    expect(x_THK.get(1, 0, 0)).toBe(99);
    expect(() => rowsOf(x_THK, 1, 3)).toThrow(ShapeError);
  });

  it('are not misread when transposed', () => {
    expect(() => flat(x_THK.transpose(1, 0, 2))).toThrow(ShapeError);
  });

  it('name the axes that do not fit', () => {
    expect(() => expectShape(x_THK, 'q', { T: 2, H: 3, K: 5 })).toThrow(
      'q: expected T = 2 (new tokens), H = 3 (query heads), K = 5 (key dim), got shape [2, 3, 4].',
    );
    expect(() => expectShape(x_THK, 'q', { T: 2, H: 12 })).toThrow(ShapeError);
  });
});
