import type { Comparison } from '../src/reference/compare/comparison.js';

/**
 * A comparison as one line of JSON, by the names of its types (`Comparison`). Numbers that JSON has not are the texts "NaN", "Infinity"
 * and "-Infinity", which `Number` reads again in JavaScript and `float` in Python.
 */
export function comparisonJson(comparison: Comparison): string {
  return `${JSON.stringify(comparison, numbersAsTexts)}\n`;
}

/** A replacer: numbers that JSON has not become texts. */
export function numbersAsTexts(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
