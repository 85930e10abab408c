import type { StrategyName } from '../../attention/strategy/index.js';
import { type MemoryOptions, type MemoryRow, memoryReport } from '../../src/reference/memory.js';
import type { MemoryShape } from '../../src/reference/memory-shape.js';
import { presetOf } from '../../src/reference/presets.js';

/** The row of a strategy (the model's own by default) and a form of the cache. */
export function rowOf(
  shape: MemoryShape,
  kvDtype: string,
  options: MemoryOptions = {},
  strategy?: StrategyName,
): MemoryRow {
  const { rows } = memoryReport(shape, options);
  return rows.find((row) => row.kvDtype === kvDtype && (strategy ? row.strategy === strategy : row.own))!;
}

export const preset = (name: string) => presetOf(name)!;
