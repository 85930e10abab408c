import { RequestError } from '../errors.js';
import { type Matrix, widenInto } from '../tensor/matrix.js';
import { floats, type Precision, type Tensor, tensor } from '../tensor/tensor.js';

/** @throws RequestError for an id outside the vocabulary. */
export function expectIds(ids: readonly number[], vocabulary: number): void {
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (wrong === undefined) return;
  throw new RequestError(`Token id ${wrong} is outside the vocabulary, which has the ids 0 to ${vocabulary - 1}.`);
}

/** Token ids [T], each in the vocabulary -> rows of the embedding matrix [T, D]. */
export function embed(ids: readonly number[], embedding: Matrix, precision: Precision): Tensor {
  const width = embedding.columns;
  const x_TD = tensor(floats(precision, ids.length * width), [ids.length, width]);
  ids.forEach((id, t) => {
    widenInto(x_TD.data.subarray(t * width, (t + 1) * width), embedding, id * width, width);
  });
  return x_TD;
}
