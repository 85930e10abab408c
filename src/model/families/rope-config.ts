/** Every way in which config.json describes rotary embeddings -> frequencies and a factor. */
import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { Rope } from '../../math/rope.js';

const positive = z.number().positive();

/** `rope_parameters` (transformers 5) and `rope_scaling` (before) hold the same members. */
const scaling = z.discriminatedUnion(
  'rope_type',
  [
    z.strictObject({ rope_type: z.literal('default'), rope_theta: positive.optional() }),
    z.strictObject({ rope_type: z.literal('linear'), rope_theta: positive.optional(), factor: positive }),
    z.strictObject({
      rope_type: z.literal('llama3'),
      rope_theta: positive.optional(),
      factor: positive,
      low_freq_factor: positive,
      high_freq_factor: positive,
      original_max_position_embeddings: positive,
    }),
    z.strictObject({
      rope_type: z.literal('yarn'),
      rope_theta: positive.optional(),
      factor: positive,
      beta_fast: positive.nullish(),
      beta_slow: positive.nullish(),
      mscale: z.number().nullish(),
      mscale_all_dim: z.number().nullish(),
      attention_factor: positive.nullish(),
      truncate: z.boolean().nullish(),
      original_max_position_embeddings: positive.nullish(),
    }),
  ],
  {
    error: (issue) =>
      issue.code === 'invalid_union' ? 'rope_type must be default, linear, llama3 or yarn' : undefined,
  },
);

type Scaling = z.output<typeof scaling>;
type Yarn = Extract<Scaling, { rope_type: 'yarn' }>;

/** The old spelling `type` for `rope_type`. Some files have both; where they differ, `type` stays, and is refused as unknown. */
function modernised(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { type, ...rest } = value as Record<string, unknown>;
  const { rope_type: modern = type } = rest;
  return modern === type || type === undefined ? { ...rest, rope_type: modern } : value;
}

/** The config keys of rope, both spellings. */
export const ropeKeys = {
  rope_theta: positive.optional(),
  rope_scaling: z.preprocess(modernised, scaling.nullish()),
  rope_parameters: z.preprocess(modernised, scaling.nullish()),
};

export type RopeKeys = z.output<z.ZodObject<typeof ropeKeys>>;

/** What a family says of rope beside the config's keys. */
interface RopeShape {
  /** Values of a head that are rotated. */
  readonly dim: number;
  readonly pairs?: Rope['pairs'];
  /** max_position_embeddings, which yarn needs where the original context is not given. */
  readonly context: number;
  /** Where the config has none. */
  readonly theta?: number;
}

/** `mscale_all_dim` of yarn: some families multiply their scores by the square of what it makes of the factor. 1: nothing. */
export function yarnScoreFactor({ rope_parameters, rope_scaling }: RopeKeys): number {
  const given = rope_parameters ?? rope_scaling;
  if (given?.rope_type !== 'yarn' || !given.mscale_all_dim) return 1;
  return mscaleOf(given.factor, given.mscale_all_dim) ** 2;
}

export function ropeOf(keys: RopeKeys, shape: RopeShape, file: string): Rope {
  const { dim, context } = shape;
  if (keys.rope_parameters && keys.rope_scaling) {
    throw new CheckpointError(`${file}: both rope_parameters and rope_scaling are given; keep one of them.`);
  }
  const given: Scaling = keys.rope_parameters ?? keys.rope_scaling ?? { rope_type: 'default' };
  const theta = given.rope_theta ?? keys.rope_theta ?? shape.theta ?? 10000;
  if (keys.rope_theta !== undefined && keys.rope_theta !== theta) {
    throw new CheckpointError(
      `${file}: rope_theta = ${keys.rope_theta} contradicts the ${theta} given with the rope type.`,
    );
  }
  if (given.rope_type === 'yarn' && theta <= 1) {
    throw new CheckpointError(`${file}: yarn needs a rope_theta above 1, got ${theta}.`);
  }
  const plain = Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  return { dim, pairs: shape.pairs ?? 'half-split', ...scaled(given, plain, theta, context) };
}

function scaled(
  given: Scaling,
  plain: number[],
  theta: number,
  context: number,
): Pick<Rope, 'frequencies' | 'magnitude'> {
  switch (given.rope_type) {
    case 'default':
      return { frequencies: plain, magnitude: 1 };
    case 'linear':
      return { frequencies: plain.map((frequency) => frequency / given.factor), magnitude: 1 };
    case 'llama3':
      return { frequencies: plain.map((frequency) => llama3(frequency, given)), magnitude: 1 };
    case 'yarn':
      return yarn(given, plain, theta, context);
  }
}

/**
 * Llama 3.1: wavelengths beyond original context / low_freq_factor are stretched by `factor`, those below original context /
 * high_freq_factor stay, and those between are blended (`_compute_llama3_parameters` of transformers).
 */
function llama3(frequency: number, given: Extract<Scaling, { rope_type: 'llama3' }>): number {
  const turns = (given.original_max_position_embeddings * frequency) / (2 * Math.PI);
  const kept = (turns - given.low_freq_factor) / (given.high_freq_factor - given.low_freq_factor);
  return blend(frequency / given.factor, frequency, kept);
}

/** YaRN (Peng et al. 2023, section 3.2 and equation 22): a ramp over the pairs between beta_slow and beta_fast turns. */
function yarn(given: Yarn, plain: number[], theta: number, context: number): Pick<Rope, 'frequencies' | 'magnitude'> {
  const dim = 2 * plain.length;
  const original = given.original_max_position_embeddings ?? context;
  const pairAt = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = given.truncate ?? true;
  const [low, high] = [pairAt(given.beta_fast ?? 32), pairAt(given.beta_slow ?? 1)];
  const first = Math.max(whole ? Math.floor(low) : low, 0);
  const last = Math.min(whole ? Math.ceil(high) : high, dim - 1);
  const width = last - first || 0.001;
  return {
    frequencies: plain.map((frequency, i) => blend(frequency, frequency / given.factor, (i - first) / width)),
    magnitude: given.attention_factor ?? yarnMagnitude(given),
  };
}

function yarnMagnitude({ factor, mscale, mscale_all_dim: all }: Yarn): number {
  return mscale && all ? mscaleOf(factor, mscale) / mscaleOf(factor, all) : mscaleOf(factor, 1);
}

/** 0.1 m ln(factor) + 1 (YaRN, equation 22, with DeepSeek's m). */
function mscaleOf(factor: number, m: number): number {
  return factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;
}

/** a where part <= 0, b where part >= 1, a straight line between. */
function blend(a: number, b: number, part: number): number {
  const clamped = Math.min(Math.max(part, 0), 1);
  return a * (1 - clamped) + b * clamped;
}
