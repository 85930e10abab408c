import type { Precision } from '../../src/tensor/tensor.js';
import type { Retention } from '../streams.js';
import type { CacheOptions } from './cache.js';
import { layoutOf, type RowLayout } from './codec/layout.js';
import { LayerRows } from './rows.js';

/** What the store of one layer is made from. */
export interface LayerPlan {
  readonly retention: Retention;
  readonly layout: RowLayout;
  readonly precision: Precision;
}

export function plansOf({ layers, precision, dtype }: CacheOptions): LayerPlan[] {
  return layers.map((layer, i) => ({ retention: layer.retention, layout: layoutOf(dtype, layer, i), precision }));
}

export function newRows({ layout, precision }: LayerPlan, capacity = 0): LayerRows {
  const rows = new LayerRows(layout, precision);
  rows.resize(capacity, 0);
  return rows;
}
