/** Mistakes of the frequencies of rope: its base, its scaling, and which layers have which. */
import { dirname } from 'node:path';
import type { Rope } from '../../math/rope.js';
import type { ModelConfig } from '../../model/config.js';
import { loadConfig, type Model } from '../../model/load.js';
import { roundToBfloat16 } from '../../tensor/dtype.js';
import { type Change, frequenciesOf, grouped, hasRope, layers, rope, ropesOf } from './change.js';
import { movedPositions } from './moved.js';
import { type Mutant, type Variant, when } from './mutant.js';

/** Of a rope that is not scaled: what frequencies it would have. */
const unscaled = (own: Rope) => frequenciesOf(own.theta ?? 10000, own.dim);

const isScaled = (own: Rope) => unscaled(own).some((frequency, i) => Math.abs(frequency - own.frequencies[i]!) > 1e-9);

/** Of Llama and most others, Code Llama's kin, gpt-oss, Llama 3, Mixtral and Qwen, Qwen 2.5's long ones. */
const THETAS = [10_000, 100_000, 150_000, 500_000, 1_000_000, 10_000_000];

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

const sameForAll = (pick: (ropes: readonly Rope[]) => Rope): Change =>
  layers((layer, _, all) => {
    const ropes = all.flatMap(({ attention }) => (attention.rope ? [attention.rope] : []));
    return layer.attention.rope ? { ...layer, attention: { ...layer.attention, rope: pick(ropes) } as never } : layer;
  });

export const ROPE_FREQUENCY_MUTANTS: readonly Mutant[] = [
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
    fix: 'multiply cos and sin by attention_factor; without one yarn has 0.1 ln(factor) + 1, longrope sqrt(1 + ln(factor) / ln(original context))',
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
];
