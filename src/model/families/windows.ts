/** Which layers see a window, as configs say it. */
import { z } from 'zod';
import type { VisibilityConfig } from '../../../attention/visibility/index.js';
import { CheckpointError } from '../../errors.js';
import { count, flag, type Origin } from './common.js';

export const attentionTypes = z.array(z.enum(['sliding_attention', 'full_attention'])).nullish();

export type AttentionType = 'sliding_attention' | 'full_attention';

/** What layers of these types see. @throws CheckpointError if one has a window, and the file does not say how long */
export function visibilitiesOf(
  types: readonly AttentionType[],
  window: number | null | undefined,
  { file }: Origin,
): VisibilityConfig[] {
  const layer = types.indexOf('sliding_attention');
  if (layer >= 0 && window == null) {
    throw new CheckpointError(
      `${file}: layer_types[${layer}] is sliding_attention, and there is no window (sliding_window is null or 0, or use_sliding_window is false).`,
    );
  }
  return types.map((type) => windowed(type === 'sliding_attention' ? window : null));
}

/** Qwen's windows are off unless `use_sliding_window` says otherwise, and then in the layers from `max_window_layers` on. */
export const qwenWindowKeys = {
  use_sliding_window: flag.default(false),
  sliding_window: count.nullable().default(4096),
  max_window_layers: z.int().nonnegative().default(28),
  layer_types: attentionTypes,
};

type QwenWindowKeys = z.output<z.ZodObject<typeof qwenWindowKeys>> & { readonly num_hidden_layers: number };

export function qwenVisibilities(keys: QwenWindowKeys, origin: Origin): VisibilityConfig[] {
  const window = keys.use_sliding_window ? keys.sliding_window : null;
  const types = layerTypesOf(keys, origin, (i) =>
    window !== null && i >= keys.max_window_layers ? 'sliding_attention' : 'full_attention',
  );
  return visibilitiesOf(types, window, origin);
}

/** null: no window. */
export function windowed(window: number | null | undefined): VisibilityConfig {
  return window == null ? { kind: 'causal' } : { kind: 'sliding', window };
}

/** `layer_types`, or what a family says where a file does not. @throws CheckpointError unless there is one for each layer */
export function layerTypesOf<Type extends string>(
  {
    layer_types: given,
    num_hidden_layers: layers,
  }: { layer_types?: readonly Type[] | null | undefined; num_hidden_layers: number },
  { file }: Origin,
  otherwise: (index: number) => Type,
): readonly Type[] {
  if (!given) return Array.from({ length: layers }, (_, i) => otherwise(i));
  if (given.length === layers) return given;
  throw new CheckpointError(`${file}: layer_types has ${given.length} entries, and num_hidden_layers = ${layers}.`);
}
