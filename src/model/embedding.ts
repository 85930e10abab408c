import { RequestError } from '../errors.js';
import { type Matrix, widenInto } from '../tensor/matrix.js';
import { floats, type Precision, type Tensor, tensor } from '../tensor/tensor.js';

/** Token ids [T] -> rows of the embedding matrix [T, D]. @throws RequestError for an id outside the vocabulary. */
export function embed(ids: readonly number[], embedding: Matrix, precision: Precision): Tensor {
  const width = embedding.columns;
  const x_TD = tensor(floats(precision, ids.length * width), [ids.length, width]);
  ids.forEach((id, t) => {
    if (!Number.isInteger(id) || id < 0 || id >= embedding.rows) {
      throw new RequestError(`Token id ${id} is outside the vocabulary, which has the ids 0 to ${embedding.rows - 1}.`);
    }
    widenInto(x_TD.data.subarray(t * width, (t + 1) * width), embedding, id * width, width);
  });
  return x_TD;
}
