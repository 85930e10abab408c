/** Every way in which config.json describes rotary embeddings -> frequencies and a factor. */
import { z } from 'zod';
import { CheckpointError, UsageError } from '../../errors.js';
import type { Rope, RopeStores } from '../../math/rope.js';
import type { Origin } from './common.js';
import { frequenciesOf } from './rope-frequencies.js';
import { type LongRope, mscaleOf, type Yarn } from './rope-scaling.js';

const positive = z.number().positive();
/** Tokens; its logarithm divides. */
const original = z.int().min(2);
const shared = {
  rope_theta: positive.optional(),
  /** The part of a head that is rotated. */
  partial_rotary_factor: positive.max(1).nullish(),
};

/** `rope_parameters` (transformers 5) and `rope_scaling` (before) hold the same members. */
const scaling = z.discriminatedUnion(
  'rope_type',
  [
    z.strictObject({
      rope_type: z.literal('default'),
      ...shared,
      original_max_position_embeddings: original.optional(),
    }),
    z.strictObject({ rope_type: z.literal('linear'), ...shared, factor: positive }),
    z.strictObject({ rope_type: z.literal('dynamic'), ...shared, factor: positive }),
    z.strictObject({
      rope_type: z.literal('llama3'),
      ...shared,
      factor: positive,
      low_freq_factor: positive,
      high_freq_factor: positive,
      original_max_position_embeddings: original,
    }),
    z.strictObject({
      rope_type: z.literal('yarn'),
      ...shared,
      factor: positive,
      beta_fast: positive.nullish(),
      beta_slow: positive.nullish(),
      mscale: z.number().nullish(),
      mscale_all_dim: z.number().nullish(),
      attention_factor: positive.nullish(),
      truncate: z.boolean().nullish(),
      original_max_position_embeddings: original.nullish(),
    }),
    z.strictObject({
      rope_type: z.literal('longrope'),
      ...shared,
      short_factor: z.array(positive),
      long_factor: z.array(positive),
      factor: positive.nullish(),
      attention_factor: positive.nullish(),
      original_max_position_embeddings: original.nullish(),
    }),
  ],
  {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? 'rope_type must be default, linear, dynamic, llama3, yarn or longrope'
        : undefined,
  },
);

export type Scaling = z.output<typeof scaling>;

/** The old spellings: `type` for `rope_type`, and `su` for `longrope`. Where both types are given and differ, `type` stays, and is refused as unknown. */
function modernised(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { type, ...rest } = value as Record<string, unknown>;
  const renamed = (name: unknown) => (name === 'su' ? 'longrope' : name);
  const { rope_type: modern = type } = rest;
  if (type !== undefined && renamed(modern) !== renamed(type)) return value;
  return { ...rest, rope_type: renamed(modern) };
}

/** One rope; null or absent: the default. */
export const ropeScaling = z.preprocess(modernised, scaling.nullish());

/** The config keys of rope, both spellings. */
export const ropeKeys = {
  rope_theta: positive.optional(),
  partial_rotary_factor: positive.max(1).nullish(),
  rope_scaling: ropeScaling,
  rope_parameters: ropeScaling,
  /** Of the context that a scaled rope was trained on before it was scaled. */
  original_max_position_embeddings: original.nullish(),
};

export type RopeKeys = z.output<z.ZodObject<typeof ropeKeys>>;

/** What a family says of rope beside the config's keys. */
export interface RopeShape {
  /** K, or the part of it that is rotated where the family says so in another way than by a fraction. */
  readonly dim: number;
  /** What the config calls it, for messages. */
  readonly what?: string;
  /** The part that is rotated where the config does not say; undefined: the family rotates whole heads, and knows no other. */
  readonly partial?: number;
  readonly pairs?: Rope['pairs'];
  /** max_position_embeddings, which stands for the original context where that is not given. */
  readonly context: number;
  /** Where the config has none. */
  readonly theta?: number;
  /** Where the family rounds, if not everywhere. */
  readonly stores?: RopeStores;
}

/** The rope type and its members, as the config gives them. @throws CheckpointError if both spellings are there */
function scalingOf(keys: RopeKeys, file: string): Scaling {
  if (keys.rope_parameters && keys.rope_scaling) {
    throw new CheckpointError(`${file}: both rope_parameters and rope_scaling are given; keep one of them.`);
  }
  return keys.rope_parameters ?? keys.rope_scaling ?? { rope_type: 'default' };
}

/** `mscale_all_dim` of yarn: some families multiply their scores by the square of what it makes of the factor. 1: nothing. */
export function yarnScoreFactor({ rope_parameters, rope_scaling }: RopeKeys): number {
  const given = rope_parameters ?? rope_scaling;
  if (given?.rope_type !== 'yarn' || !given.mscale_all_dim) return 1;
  return mscaleOf(given.factor, given.mscale_all_dim) ** 2;
}

/**
 * How long sequences may be. Dynamic and longrope ropes change with the length of a sequence, all its tokens' rotations at once; here a model has one
 * rope, made for one length, so that a token's logits do not depend on how they are computed, and no sequence may be longer.
 */
export function contextOf(
  keys: RopeKeys,
  context: number,
  { file, ropeLength }: Origin,
): { context: number; ropeLength: number | null } {
  const given = scalingOf(keys, file);
  const trained = trainedLength(given, keys, context);
  if (trained === null) {
    if (ropeLength === null) return { context, ropeLength: null };
    throw new UsageError(
      `--rope-length: the rope of ${file} is ${given.rope_type}, which does not depend on a length.`,
    );
  }
  if (given.rope_type === 'longrope' && ropeLength !== null && ropeLength > context) {
    throw new UsageError(
      `--rope-length: expected at most max_position_embeddings = ${context} of ${file}, got ${ropeLength}.`,
    );
  }
  return { context: ropeLength ?? trained, ropeLength: ropeLength ?? trained };
}

/** The length up to which a rope that depends on the length is as it was trained; null: it does not depend on it. */
function trainedLength(given: Scaling, keys: RopeKeys, context: number): number | null {
  if (given.rope_type === 'dynamic') return context;
  return given.rope_type === 'longrope' ? Math.min(originalOf(given, keys, context), context) : null;
}

/** The original context. Beside the scaling's members it may stand at the top of the file, which then wins (as in transformers). */
function originalOf(
  given: { original_max_position_embeddings?: number | null | undefined },
  keys: RopeKeys,
  context: number,
): number {
  return keys.original_max_position_embeddings ?? given.original_max_position_embeddings ?? context;
}

export function ropeOf(keys: RopeKeys, shape: RopeShape, { file, ropeLength }: Origin): Rope {
  const given = scalingOf(keys, file);
  const theta = given.rope_theta ?? keys.rope_theta ?? shape.theta ?? 10000;
  if (keys.rope_theta !== undefined && keys.rope_theta !== theta) {
    throw new CheckpointError(
      `${file}: rope_theta = ${keys.rope_theta} contradicts the ${theta} given with the rope type.`,
    );
  }
  if (given.rope_type === 'yarn' && theta <= 1) {
    throw new CheckpointError(`${file}: yarn needs a rope_theta above 1, got ${theta}.`);
  }
  const dim = rotatedDim(given, keys, shape, file);
  if (given.rope_type === 'longrope') checkFactors(given, dim, file);
  const rope = { dim, pairs: shape.pairs ?? 'half-split', ...(shape.stores && { stores: shape.stores }) } as const;
  const { context } = shape;
  const original = originalOf(given as Yarn, keys, context);
  return { ...rope, theta, ...frequenciesOf({ given, theta, dim, original, context, ropeLength }) };
}

/** How many values of a head are rotated. @throws CheckpointError unless they are pairs */
function rotatedDim(given: Scaling, keys: RopeKeys, { dim, what, partial }: RopeShape, file: string): number {
  const [inner, outer] = [given.partial_rotary_factor, keys.partial_rotary_factor];
  if (inner != null && outer != null && inner !== outer) {
    throw new CheckpointError(
      `${file}: partial_rotary_factor = ${outer} contradicts the ${inner} given with the rope type.`,
    );
  }
  const fraction = inner ?? outer ?? partial ?? 1;
  if (partial === undefined && fraction !== 1) {
    throw new CheckpointError(`${file}: partial_rotary_factor = ${fraction}, and this family rotates whole heads.`);
  }
  const rotated = Math.trunc(dim * fraction);
  if (rotated < 2 || rotated % 2 !== 0) {
    throw new CheckpointError(
      `${file}: the head dim ${dim} (${what ?? 'head_dim, or hidden_size / num_attention_heads'}) must be an even whole number` +
        `${fraction === 1 ? '' : `, and so must its part of ${fraction} that is rotated`}.`,
    );
  }
  return rotated;
}

function checkFactors({ short_factor, long_factor }: LongRope, dim: number, file: string): void {
  for (const [name, { length }] of Object.entries({ short_factor, long_factor })) {
    if (length === dim / 2) continue;
    throw new CheckpointError(
      `${file}: ${name} has ${length} entries, and ${dim} rotated values have ${dim / 2} pairs.`,
    );
  }
}

/** The rope of whole heads, or with `more` of another kind. */
export function ropeOfHeads(
  keys: RopeKeys & { readonly max_position_embeddings: number },
  { headDim }: { readonly headDim: number },
  origin: Origin,
  more: Partial<RopeShape> = {},
): Rope {
  return ropeOf(keys, { dim: headDim, context: keys.max_position_embeddings, ...more }, origin);
}
