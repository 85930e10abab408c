/** What a feature is, and how a config is asked for it. */
import type { GroupedConfig } from '../../../attention/strategy/strategy.js';
import type { LayerConfig, ModelConfig } from '../../model/config.js';

/** Columns of the table. */
export const FEATURE_GROUPS = [
  'heads',
  'positions',
  'what is seen',
  'scores',
  'feed-forward',
  'norms',
  'residual stream',
  'biases',
  'embedding and output',
] as const;

type FeatureGroup = (typeof FEATURE_GROUPS)[number];

export interface Feature {
  /** Short, for a table. */
  readonly name: string;
  readonly group: FeatureGroup;
  /** What a port is likely to trip over; null: nothing, most models have it, or another sentence says it. */
  readonly note: ((config: ModelConfig) => string) | null;
  readonly has: (config: ModelConfig) => boolean;
}

export const someLayer =
  (has: (layer: LayerConfig) => boolean) =>
  ({ layers }: ModelConfig) =>
    layers.some(has);

export const someGrouped = (has: (attention: GroupedConfig) => unknown) =>
  someLayer(({ attention }) => attention.kind === 'grouped' && Boolean(has(attention)));

/** A number in six digits at most. */
export const short = (value: number) => `${Number(value.toPrecision(6))}`;

/** What layers say, each thing once; of many things the first three. */
export const said = (of: (layer: LayerConfig) => string, layers: readonly LayerConfig[]) =>
  shortened([...new Set(layers.map(of))]);

function shortened(things: readonly string[]): string {
  return things.length > 3 ? `${things.slice(0, 3).join(', ')}, ...` : things.join(', ');
}
