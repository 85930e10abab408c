/** Mistakes of rope: what it rotates, and which way. */
import type { AttentionStrategy } from '../../../attention/strategy/strategy.js';
import { frequenciesOf, hasRope, rope, rotatable } from './change.js';
import { movedPositions } from './moved.js';
import { type Mutant, when } from './mutant.js';

/** The values of heads that rope turns begin elsewhere. */
function turnsFrom(strategy: AttentionStrategy, fromOf: (dim: number, from: number) => number): AttentionStrategy {
  const streams = strategy.streams.map((stream) =>
    stream.ropeFrom === null ? stream : { ...stream, ropeFrom: fromOf(stream.dim, stream.ropeFrom) },
  );
  return { ...strategy, streams };
}

export const ROPE_MUTANTS: readonly Mutant[] = [
  {
    name: 'rope-interleaved',
    group: 'positions',
    mistake: 'rope rotates neighbouring values (0, 1), (2, 3), ... where the model pairs the two halves i and i + R/2',
    symptom: 'queries and keys are right before rope, and after it at position 0 alone',
    fix: 'rotate (i, i + R/2), or permute the rows of the query and key projections once, as converters of GGUF do',
    variants: (model) =>
      when(
        hasRope(model, ({ pairs, dim }) => pairs === 'half-split' && dim > 2),
        { parts: rope((own) => (own.pairs === 'half-split' ? { ...own, pairs: 'interleaved' } : own)) },
      ),
  },
  {
    name: 'rope-half-split',
    group: 'positions',
    mistake:
      'rope rotates the two halves (0, R/2), (1, R/2 + 1), ... where the model pairs neighbouring values: 2i and 2i + 1',
    symptom: 'queries and keys are right before rope, and after it at position 0 alone',
    fix: 'rotate (2i, 2i + 1)',
    variants: (model) =>
      when(
        hasRope(model, ({ pairs, dim }) => pairs === 'interleaved' && dim > 2),
        { parts: rope((own) => (own.pairs === 'interleaved' ? { ...own, pairs: 'half-split' } : own)) },
      ),
  },
  {
    name: 'rope-missing',
    group: 'positions',
    mistake: 'queries and keys are not rotated',
    symptom:
      'the first token is right, and all others are off: in the first layer the order of the words before does not matter',
    fix: 'rotate queries and keys to their positions before they are multiplied, and before keys are stored',
    variants: (model) =>
      when(hasRope(model), {
        parts: rope((own) => ({ ...own, frequencies: own.frequencies.map(() => 0), magnitude: 1 })),
      }),
  },
  {
    name: 'rope-queries-alone',
    group: 'positions',
    mistake: 'queries are rotated, and keys are not',
    symptom: 'scores depend on absolute positions; attention drifts to the wrong tokens',
    fix: 'rotate keys too, before they are stored',
    variants: (model) => when(hasRope(model), { splice: movedPositions((position) => -position, 'keys') }),
  },
  {
    name: 'rope-keys-alone',
    group: 'positions',
    mistake: 'keys are rotated, and queries are not',
    symptom: 'scores depend on absolute positions; attention drifts to the wrong tokens',
    fix: 'rotate queries too',
    variants: (model) => when(hasRope(model), { splice: movedPositions((position) => -position, 'queries') }),
  },
  {
    name: 'rope-twice',
    group: 'positions',
    mistake: 'rope is applied twice, before keys are stored and once more when they are read',
    symptom: 'distances count double',
    fix: 'rotate once: either what is stored, or what is read',
    variants: (model) => when(hasRope(model), { splice: movedPositions((position) => position, 'both') }),
  },
  {
    name: 'rope-backwards',
    group: 'positions',
    mistake: 'rope rotates the other way: the sign of the sine is swapped',
    symptom: 'keys before a token look like keys after it; worse the further they lie',
    fix: 'a pair (a, b) becomes (a cos - b sin, b cos + a sin)',
    variants: (model) =>
      when(hasRope(model), {
        parts: rope((own) => ({ ...own, frequencies: own.frequencies.map((frequency) => -frequency) })),
      }),
  },
  {
    name: 'rope-whole-head',
    group: 'positions',
    mistake:
      'rope rotates all values of a head, where the model rotates the first of them alone (partial_rotary_factor)',
    symptom: 'the first token is right, and all others are wrong',
    fix: 'rotate the first R values, with frequencies theta^(-2i/R) of R, not of the head dim',
    variants: (model) =>
      when(
        hasRope(model, (own, layer) => own.dim < rotatable(layer)),
        {
          parts: rope((own, layer) => {
            const dim = rotatable(layer);
            return { ...own, dim, frequencies: frequenciesOf(own.theta ?? 10000, dim) };
          }),
        },
      ),
  },
  {
    name: 'rope-wrong-dims',
    group: 'positions',
    mistake:
      'rope rotates the other end of a head: the last values where it should the first, or in latent attention the first where it should the last',
    symptom: 'the first token is right, and all others are wrong',
    fix: 'look where the part that carries positions begins',
    variants: (model) =>
      when(
        hasRope(model, (own, { attention }) =>
          attention.kind === 'latent'
            ? !model.components.chosen.attention.split(', ').includes('mla')
            : own.dim < attention.headDim,
        ),
        {
          attends: (layer, { config }) => {
            const { attention } = config.layers[layer.index]!;
            if (!attention.rope) return layer;
            const { dim: turned } = attention.rope;
            const fromOf = (dim: number, from: number) => (from === 0 ? dim - turned : 0);
            return { ...layer, strategy: turnsFrom(layer.strategy, fromOf) };
          },
        },
      ),
  },
];
