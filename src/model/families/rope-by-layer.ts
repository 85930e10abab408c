/** Families whose layers differ in their rope: another one in layers with windows (Gemma 3, OLMo 3), or none in some (SmolLM3, Llama 4). */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { Rope } from '../../math/rope.js';
import type { Origin } from './common.js';
import { contextOf, type RopeKeys, type RopeShape, ropeKeys, ropeOf, ropeScaling } from './rope-config.js';
import type { AttentionType } from './windows.js';

/** `rope_parameters` holds a rope for each type of layer: a single one, of which it is not said whose it is, is refused. */
export const layeredRopeKeys = {
  ...ropeKeys,
  rope_parameters: z
    .unknown()
    .optional()
    .refine((value) => typeof value !== 'object' || value === null || !('rope_type' in value || 'type' in value), {
      message: 'expected one rope for each type of layer, { full_attention, sliding_attention }',
    })
    .pipe(z.strictObject({ full_attention: ropeScaling, sliding_attention: ropeScaling }).nullish()),
};

type LayeredRopeKeys = z.output<z.ZodObject<typeof layeredRopeKeys>>;

interface LayeredRopes {
  /** The keys of layers that see everything, which say how long sequences may be. */
  readonly keys: RopeKeys & { readonly rope_parameters: RopeKeys['rope_parameters'] };
  readonly ropes: Readonly<Record<AttentionType, Rope>>;
}

/**
 * The ropes of both types of layers; one where they are the same. What older files say, `rope_theta` and `rope_scaling`, is of the layers
 * with full attention.
 * @param windows the theta of layers with windows, as older files say it and where no file does
 */
export function layeredRopes(
  { rope_parameters: given, ...rest }: LayeredRopeKeys,
  shape: RopeShape,
  windows: { readonly given: number | undefined; readonly otherwise: number },
  origin: Origin,
): LayeredRopes {
  const keys = { ...rest, rope_parameters: given?.full_attention };
  const windowed: RopeKeys = { rope_theta: windows.given, rope_parameters: given?.sliding_attention };
  if (contextOf(windowed, shape.context, { ...origin, ropeLength: null }).ropeLength !== null) {
    throw new CheckpointError(
      `${origin.file}: rope_parameters.sliding_attention depends on the length of the sequence, which is supported for full_attention alone.`,
    );
  }
  const full = ropeOf(keys, shape, origin);
  const sliding = ropeOf(windowed, { ...shape, theta: windows.otherwise }, origin);
  const ropes = { full_attention: full, sliding_attention: isDeepStrictEqual(full, sliding) ? full : sliding };
  return { keys, ropes };
}

interface NoRopeKeys {
  readonly no_rope_layers?: readonly number[] | null | undefined;
  readonly no_rope_layer_interval: number;
  readonly num_hidden_layers: number;
}

/**
 * Which layers have rope: `no_rope_layers`, which is named after those that have none, has 0 for these; without it they are every
 * `no_rope_layer_interval`-th one. @throws CheckpointError for a list that is too short
 */
export function rotatedLayers(keys: NoRopeKeys, { file }: Origin): boolean[] {
  const { no_rope_layers: given, no_rope_layer_interval: interval, num_hidden_layers: layers } = keys;
  if (!given) return Array.from({ length: layers }, (_, i) => (i + 1) % interval !== 0);
  if (given.length >= layers) return given.map((has) => has !== 0);
  throw new CheckpointError(`${file}: no_rope_layers has ${given.length} entries, and num_hidden_layers = ${layers}.`);
}
