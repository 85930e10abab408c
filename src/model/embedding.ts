import { RequestError } from '../errors.js';
import { add, scaled } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import { normalise } from '../math/norm.js';
import { storingOf } from '../math/sum.js';
import { type Matrix, widenInto } from '../tensor/matrix.js';
import { floats, type Precision, type Tensor, tensor } from '../tensor/tensor.js';
import type { EmbeddingConfig, ModelConfig } from './config.js';
import type { EmbeddingWeights } from './weights.js';

/** @throws RequestError for an id outside the vocabulary. */
export function expectIds(ids: readonly number[], vocabulary: number): void {
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (wrong === undefined) return;
  throw new RequestError(`Token id ${wrong} is outside the vocabulary, which has the ids 0 to ${vocabulary - 1}.`);
}

/** @throws RequestError for an absolute position that no row was learned for, or that the rope was not made for */
export function expectPositions(positions: Int32Array, { embedding, ropeLength }: ModelConfig): void {
  const learned = embedding.positions;
  const beyond = positions.find((position) => position >= (learned?.count ?? ropeLength ?? Number.POSITIVE_INFINITY));
  if (beyond === undefined) return;
  throw new RequestError(
    learned
      ? `Position ${beyond} has no embedding: this model learned the positions 0 to ${learned.count - 1}, and has no other.`
      : `Position ${beyond} is beyond the ${ropeLength} tokens that this model's rope was made for; ` +
          'load it with a rope for more (--rope-length, ropeLength).',
  );
}

/** Token ids [T], each in the vocabulary, at absolute positions [T] -> the residual stream's beginning [T, D]. */
export function embed(
  ids: readonly number[],
  positions: Int32Array,
  config: EmbeddingConfig,
  { tokens, projectIn, positions: learned, norm }: EmbeddingWeights,
  precision: Precision,
): Tensor {
  const stored_TW = rowsAt(ids, tokens, precision);
  const factor = config.scaleIsTensor ? storingOf(stored_TW.data)(config.scale) : config.scale;
  const rows_TW = scaled(stored_TW, factor);
  let x_TD = projectIn ? linear(rows_TW, projectIn) : rows_TW;
  if (config.positions && learned) {
    const { first } = config.positions;
    x_TD = add(
      x_TD,
      rowsAt(
        Array.from(positions, (position) => position + first),
        learned,
        precision,
      ),
    );
  }
  return config.norm ? normalise(x_TD, config.norm, norm!) : x_TD;
}

/** Rows of a matrix [rows, W] -> [T, W] */
function rowsAt(rows: readonly number[], matrix: Matrix, precision: Precision): Tensor {
  const width = matrix.columns;
  const x_TW = tensor(floats(precision, rows.length * width), [rows.length, width]);
  rows.forEach((row, t) => {
    widenInto(x_TW.data.subarray(t * width, (t + 1) * width), matrix, row * width, width);
  });
  return x_TW;
}
