/** Mistakes of positions: rope, learned positions, ALiBi. */
import { dirname } from 'node:path';
import { alibiSlopes } from '../../../attention/scores.js';
import type { AttentionStrategy } from '../../../attention/strategy/strategy.js';
import type { Rope } from '../../math/rope.js';
import type { LayerConfig, ModelConfig } from '../../model/config.js';
import { loadConfig, type Model } from '../../model/load.js';
import { roundToBfloat16 } from '../../tensor/dtype.js';
import { gatheredRows } from '../../tensor/matrix.js';
import { type Change, frequenciesOf, grouped, layers, rope, rotatable } from './change.js';
import { movedPositions } from './moved.js';
import { type Mutant, type Variant, when } from './mutant.js';

const ropesOf = ({ config }: Model): readonly { rope: Rope; layer: LayerConfig }[] =>
  config.layers.flatMap((layer) => (layer.attention.rope ? [{ rope: layer.attention.rope, layer }] : []));

const hasRope = (model: Model, has: (rope: Rope, layer: LayerConfig) => boolean = () => true) =>
  ropesOf(model).some((own) => has(own.rope, own.layer));

/** Queries and keys carry positions that depend on where a pass begins. */
const hasPositions = (model: Model) => hasRope(model) || learnedOf(model) !== null;

const learnedOf = ({ config }: Model) => config.embedding.positions;

const hasAlibi = ({ config }: Model) =>
  config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi !== null);

/** Of a rope that is not scaled: what frequencies it would have. */
const unscaled = (own: Rope) => frequenciesOf(own.theta ?? 10000, own.dim);

const isScaled = (own: Rope) => unscaled(own).some((frequency, i) => Math.abs(frequency - own.frequencies[i]!) > 1e-9);

const THETAS = [10_000, 100_000, 500_000, 1_000_000];

function thetas(model: Model): readonly Variant[] {
  return THETAS.filter((theta) => hasRope(model, (own) => own.theta !== theta && own.dim > 2 && !isScaled(own))).map(
    (theta) => ({
      label: `theta ${theta}`,
      parts: rope((own) => (isScaled(own) ? own : { ...own, frequencies: frequenciesOf(theta, own.dim) })),
    }),
  );
}

/** A rope that depends on the length, made for the length that it was trained on, and for a longer one. */
function otherLengths({ config, files }: Model): readonly Variant[] {
  if (config.ropeLength === null || files.length === 0) return [];
  const folder = dirname(files[0]!);
  const trained = loadConfig(folder).config;
  const longer =
    trained.context < config.context ? config : loadConfig(folder, { ropeLength: trained.context + 1 }).config;
  const ropes = ({ layers: all }: ModelConfig) => all.map(({ attention }) => attention.rope);
  return [trained, longer].flatMap((other, i) => {
    const own = ropes(other);
    if (JSON.stringify(own) === JSON.stringify(ropes(config))) return [];
    const parts = layers((layer, l) => ({ ...layer, attention: { ...layer.attention, rope: own[l] } as never }));
    return [{ label: i === 0 ? 'of short ones' : 'of long ones', parts }];
  });
}

/** The learned row of a position is another one. */
const learnedRows =
  (rowOf: (row: number, first: number, rows: number) => number): Change =>
  ({ config, weights }) => {
    const { positions } = weights.embedding;
    if (!positions || !config.embedding.positions) return { config, weights };
    const { first } = config.embedding.positions;
    const moved = gatheredRows(
      positions,
      Array.from({ length: positions.rows }, (_, row) => clampedTo(rowOf(row, first, positions.rows), positions.rows)),
    );
    return { config, weights: { ...weights, embedding: { ...weights.embedding, positions: moved } } };
  };

function clampedTo(row: number, rows: number): number {
  return Math.min(Math.max(row, 0), rows - 1);
}

/** The values of heads that rope turns begin elsewhere. */
function turnsFrom(strategy: AttentionStrategy, fromOf: (dim: number, from: number) => number): AttentionStrategy {
  const streams = strategy.streams.map((stream) =>
    stream.ropeFrom === null ? stream : { ...stream, ropeFrom: fromOf(stream.dim, stream.ropeFrom) },
  );
  return { ...strategy, streams };
}

const sameForAll = (pick: (ropes: readonly Rope[]) => Rope): Change =>
  layers((layer, _, all) => {
    const ropes = all.flatMap(({ attention }) => (attention.rope ? [attention.rope] : []));
    return layer.attention.rope ? { ...layer, attention: { ...layer.attention, rope: pick(ropes) } as never } : layer;
  });

export const POSITION_MUTANTS: readonly Mutant[] = [
  {
    name: 'rope-interleaved',
    group: 'positions',
    mistake: 'rope rotates neighbouring values (0, 1), (2, 3), ... where the model pairs the two halves: i and i + R/2',
    symptom: 'the first token is right, and later ones drift away with their distance',
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
    symptom: 'the first token is right, and later ones drift away with their distance',
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
    symptom: 'the order of words before the current one does not matter',
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
    name: 'rope-theta',
    group: 'positions',
    mistake: "rope has another base (theta) than the model's",
    symptom: 'right near the beginning, worse the longer the text',
    fix: 'read rope_theta from config.json (rope_parameters in newer ones) for each kind of layer',
    variants: thetas,
    sameAs: { 'rope-of-other-layers': 'the other base is that of other layers' },
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
  {
    name: 'rope-unscaled',
    group: 'positions',
    mistake: "rope's scaling for long contexts (linear, dynamic, llama3, yarn, longrope) is left out",
    symptom: 'nearly right on short texts, worse the longer they are',
    fix: 'scale the frequencies as rope_scaling (rope_parameters) says',
    variants: (model) =>
      when(hasRope(model, isScaled), {
        parts: rope((own) => (isScaled(own) ? { ...own, frequencies: unscaled(own) } : own)),
      }),
  },
  {
    name: 'rope-of-other-length',
    group: 'positions',
    mistake:
      'rope has the factors of another length: of short sequences for long ones, or the other way round (longrope)',
    symptom: 'all tokens but the first are off',
    fix: 'choose by the length of the whole sequence: the long factors beyond the original context, for all of its tokens',
    variants: (model) => otherLengths(model),
  },
  {
    name: 'rope-magnitude-missing',
    group: 'positions',
    mistake: 'cos and sin are not multiplied by the attention factor of the scaled rope (yarn, longrope)',
    symptom: 'attention is a little too flat everywhere',
    fix: 'multiply cos and sin by 0.1 ln(factor) + 1, or by what the config gives',
    variants: (model) =>
      when(
        hasRope(model, ({ magnitude }) => magnitude !== 1),
        { parts: rope((own) => ({ ...own, magnitude: 1 })) },
      ),
  },
  {
    name: 'rope-of-other-layers',
    group: 'positions',
    mistake: 'all layers have the same rope, where local and global ones differ',
    symptom: 'some layers are right from end to end, others wrong from the second token on',
    fix: 'make one table of cos and sin for each kind of layer',
    variants: (model) => {
      const distinct = new Set(ropesOf(model).map((own) => JSON.stringify(own.rope)));
      if (distinct.size < 2) return [];
      return [
        { label: 'that of the first', parts: sameForAll((ropes) => ropes[0]!) },
        {
          label: 'that of the others',
          parts: sameForAll((ropes) => ropes.find((own) => JSON.stringify(own) !== JSON.stringify(ropes[0]))!),
        },
      ];
    },
  },
  {
    name: 'rope-everywhere',
    group: 'positions',
    mistake: 'layers that have no rope in this model are rotated like the others',
    symptom: 'wrong from the first layer without rope on',
    fix: 'look which layers have none (no_rope_layers, full attention beside sliding)',
    variants: (model) => {
      const [first] = ropesOf(model);
      const without = model.config.layers.some(({ attention }) => attention.kind === 'grouped' && !attention.rope && !attention.alibi); // biome-ignore format: one thought
      return when(first && without, {
        parts: grouped((attention) => ({ ...attention, rope: attention.rope ?? first!.rope })),
      });
    },
  },
  {
    name: 'rope-in-bfloat16',
    group: 'positions',
    mistake: 'the angles of rope are computed in bfloat16',
    symptom: 'small errors that grow with the position, since bfloat16 has no whole numbers beyond 256',
    fix: 'compute positions times frequencies, cos and sin in float32, and round them afterwards',
    variants: (model) =>
      when(hasRope(model), {
        splice: movedPositions((position, _, frequency) => {
          const exact = position * frequency;
          return frequency === 0 ? 0 : (roundToBfloat16(position * roundToBfloat16(frequency)) - exact) / frequency;
        }, 'both'),
      }),
  },
  {
    name: 'position-off-by-one',
    group: 'positions',
    mistake: 'the learned positions are read one row too far, or too near',
    symptom: 'every row is off a little',
    fix: 'the first token stands at position 0, in the row that the model keeps for it (OPT: row 2)',
    variants: (model) => {
      const learned = learnedOf(model);
      if (!learned) return [];
      return [
        { label: 'too far', parts: learnedRows((row, _, rows) => Math.min(row + 1, rows - 1)) },
        { label: 'too near', parts: learnedRows((row) => Math.max(row - 1, 0)) },
      ];
    },
    sameAs: { 'padding-counted': 'one token of padding', 'position-offset-missing': 'an offset of one' },
  },
  {
    name: 'position-offset-missing',
    group: 'positions',
    mistake: 'the learned position of the first token is read from row 0, where this model keeps it further on',
    symptom: 'every row is off',
    fix: 'add the offset (2 in OPT)',
    variants: (model) =>
      when((learnedOf(model)?.first ?? 0) > 0, { parts: learnedRows((row, first) => Math.max(row - first, 0)) }),
  },
  {
    name: 'positions-missing',
    group: 'positions',
    mistake: 'learned positions are not added to the embedded tokens',
    symptom: 'every row is off, the first too',
    fix: 'add the row of each position to the row of its token',
    variants: (model) =>
      when(learnedOf(model), {
        parts: ({ config, weights }) => ({
          weights,
          config: { ...config, embedding: { ...config.embedding, positions: null } },
        }),
      }),
  },
  {
    name: 'padding-counted',
    group: 'positions',
    mistake: 'positions count the padding on the left, which is masked',
    symptom: 'a sequence alone is right, and wrong in a batch with longer ones',
    fix: 'count positions from the first real token (cumulated mask less one)',
    variants: (model) => {
      const learned = learnedOf(model);
      if (!learned) return []; // what rope and ALiBi do depends on distances alone
      return [1, 2, 3, 4, 8].map((count) => ({
        label: `${count}`,
        parts: learnedRows((row, _, rows) => Math.min(row + count, rows - 1)),
      }));
    },
  },
  {
    name: 'position-off-by-one-later',
    group: 'positions',
    mistake:
      'after the first pass positions are off by one: the length of the cache is counted before, or after, the new token',
    symptom: 'the prompt is right, and generated tokens degrade',
    fix: 'the first new token stands at the position that follows the last stored one',
    variants: (model) =>
      hasPositions(model)
        ? [1, -1].map((by) => ({
            label: by > 0 ? 'too far' : 'too near',
            splice: movedPositions((_, start) => (start > 0 ? by : 0), 'both'),
            byPass: true,
          }))
        : [],
  },
  {
    name: 'position-reset',
    group: 'positions',
    mistake: 'positions begin at 0 in every pass: what is fed after the prompt, or each chunk of it, begins anew',
    symptom: 'the prompt is right, and generated text falls apart',
    fix: 'add the number of stored tokens to the positions of new ones',
    variants: (model) =>
      when(hasPositions(model), { splice: movedPositions((_, start) => -start, 'both'), byPass: true }),
  },
  {
    name: 'alibi-missing',
    group: 'positions',
    mistake: 'ALiBi is left out: scores do not fall with distance',
    symptom: 'the first token is right, and later ones drift away',
    fix: 'add slope x (key - query) to each score, before the softmax',
    variants: (model) => when(hasAlibi(model), { parts: grouped((attention) => ({ ...attention, alibi: null })) }),
  },
  {
    name: 'alibi-backwards',
    group: 'positions',
    mistake: 'the biases of ALiBi have the other sign, so that far keys weigh most',
    symptom: 'worse the longer the text',
    fix: 'add slope x (key - query), which is never positive',
    variants: (model) =>
      when(hasAlibi(model), {
        parts: grouped((attention) => ({
          ...attention,
          alibi: attention.alibi && { ...attention.alibi, factor: -attention.alibi.factor },
        })),
      }),
  },
  {
    name: 'alibi-slopes',
    group: 'positions',
    mistake: 'the slopes of ALiBi are one geometric sequence over a number of heads that is no power of two',
    symptom: 'all heads are off a little',
    fix: 'take the slopes of the power of two below, and every second one of the next for the heads beyond',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi && !isPower(attention.queryHeads)), // biome-ignore format: one thought
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, slopes: oneSequence(attention.queryHeads) },
          })),
        },
      ),
  },
  {
    name: 'alibi-heads-reversed',
    group: 'positions',
    mistake: 'the slopes of ALiBi are given to the heads in the other order',
    symptom: 'all heads are wrong, the first and the last most',
    fix: 'the first head has the steepest slope',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi && attention.queryHeads > 1), // biome-ignore format: one thought
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, slopes: [...alibiSlopes(attention.queryHeads)].reverse() },
          })),
        },
      ),
  },
  {
    name: 'alibi-exact',
    group: 'positions',
    mistake: 'ALiBi is computed exactly, where this model was trained with keys and products rounded to bfloat16',
    symptom: 'small errors that grow with the distance from position 0',
    fix: 'round the position of a key, and its product with the slope, to bfloat16',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi?.form === 'bfloat16'),
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, form: 'distance' },
          })),
        },
      ),
  },
];

const isPower = (count: number) => Number.isInteger(Math.log2(count));

const oneSequence = (heads: number) => Array.from({ length: heads }, (_, i) => 2 ** ((-8 * (i + 1)) / heads));
