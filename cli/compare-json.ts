import type { Comparison } from '../src/reference/compare/comparison.js';

/**
 * A comparison as one line of JSON, by the names of its types (`Comparison`). Numbers that JSON has not are the texts "NaN", "Infinity"
 * and "-Infinity", which `Number` reads again in JavaScript and `float` in Python.
 */
export function comparisonJson(comparison: Comparison): string {
  return `${JSON.stringify(comparison, (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  )}\n`;
}
