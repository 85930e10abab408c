/** Tokens that stand elsewhere than they should: what rope has turned is turned further, and learned positions are exchanged. */
import { queryRopeFrom } from '../../../attention/layer.js';
import type { Rope } from '../../math/rope.js';
import type { Model } from '../../model/load.js';
import { widenInto } from '../../tensor/matrix.js';
import { type Floats, flat, floatsLike, type Tensor, zerosLike } from '../../tensor/tensor.js';
import type { Mutation } from './mutant.js';

/** How much further a token is turned. @param start the position at which its pass begins @param frequency of the pair, radians a position */
type Further = (position: number, start: number, frequency: number) => number;

type Of = 'queries' | 'keys' | 'both';

/** @param of what is moved; learned positions with both alone */
export function movedPositions(further: Further, of: Of): NonNullable<Mutation['splice']> {
  return (model) => (point, value, start) => {
    if (point === 'embeddings') return of === 'both' ? embeddedElsewhere(model, value, start, further) : value;
    const found = /^layers\.(\d+)\.attention\.(q|k|rope_key)_rope$/.exec(point);
    if (!found || !isMoved(found[2]!, of)) return value;
    const { rope } = model.config.layers[Number(found[1])]!.attention;
    const from = found[2] === 'rope_key' ? 0 : queryRopeFrom(model.components.layers[Number(found[1])]!.strategy);
    return rope ? turned(value, rope, from, start, further) : value;
  };
}

function isMoved(what: string, of: Of): boolean {
  return of === 'both' || (what === 'q') === (of === 'queries');
}

/** Turns by the difference alone, so that the factor on cos and sin stays once. */
function turned(x_THK: Tensor, rope: Rope, from: number, start: number, further: Further): Tensor {
  const [, heads, dim] = x_THK.shape as [number, number, number];
  const y_THK = zerosLike(x_THK, x_THK.shape);
  const [x, y] = [flat(x_THK), flat(y_THK)];
  y.set(x);
  const [step, apart] = rope.pairs === 'half-split' ? [1, rope.dim / 2] : [2, 1];
  for (let row = 0; row < x.length / dim; row++) {
    const position = start + Math.floor(row / heads);
    for (const [i, frequency] of rope.frequencies.entries()) {
      const angle = further(position, start, frequency) * frequency;
      if (angle === 0) continue;
      const first = row * dim + from + i * step;
      const [a, b, cos, sin] = [x[first]!, x[first + apart]!, Math.cos(angle), Math.sin(angle)];
      y[first] = a * cos - b * sin;
      y[first + apart] = b * cos + a * sin;
    }
  }
  return y_THK;
}

/** The difference of two rows of the learned positions is added; nothing where there are none, or a norm stands after them. */
function embeddedElsewhere({ config, weights }: Model, x_TD: Tensor, start: number, further: Further): Tensor {
  const { positions: learned, norm } = config.embedding;
  if (!learned || norm) return x_TD;
  const y_TD = zerosLike(x_TD, x_TD.shape);
  const [x, y, width] = [flat(x_TD), flat(y_TD), x_TD.shape[1]!];
  y.set(x);
  const rowAt = (position: number): Floats => {
    const row = floatsLike(x, width);
    const last = weights.embedding.positions!.rows - 1;
    const at = Math.min(Math.max(position + learned.first, 0), last);
    widenInto(row, weights.embedding.positions!, at * width, width);
    return row;
  };
  for (let t = 0; t < x_TD.shape[0]!; t++) {
    const position = start + t;
    const by = further(position, start, 1);
    if (by === 0) continue;
    const [right, wrong] = [rowAt(position), rowAt(position + by)];
    for (let i = 0; i < width; i++) y[t * width + i] = x[t * width + i]! - right[i]! + wrong[i]!;
  }
  return y_TD;
}
