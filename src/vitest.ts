/**
 * Matchers for vitest: a port's numbers held against a golden or a model in somebody's own tests.
 *
 * @example
 * import { expect } from 'vitest';
 * import { matchers } from 'touchstone-lm/vitest';
 * expect.extend(matchers);
 * await expect('dump.safetensors').toMatchGolden('golden.safetensors');
 * @module
 */
import type {} from 'vitest'; // whose matchers are declared below
import { ShapeError } from './errors.js';
import type { Model } from './model/load.js';
import type { ComparedDtype, Comparison } from './reference/compare/comparison.js';
import { floorsOf, sizeOf } from './reference/compare/floor.js';
import { type CompareOptions, compare } from './reference/compare/index.js';
import { measure } from './reference/compare/measure.js';
import { figures, valueTexts } from './reference/compare/numbers.js';
import { aroundLines, bisectionLines, firstOf, verdictText } from './reference/compare/words.js';
import type { Dump } from './reference/dump/dump.js';
import { dumpOf, type HeldTensor } from './reference/dump/in-memory.js';
import { distanceOf } from './reference/trace/record.js';

export interface MatchOptions extends CompareOptions {
  /** Suspicious tensors do not match either. */
  readonly strict?: boolean | undefined;
}

export interface NoiseOptions {
  /** What both were computed in; float32 by default. */
  readonly dtype?: ComparedDtype | undefined;
  /** Values of a row, each of which is judged by itself; all of them by default. */
  readonly row?: number | undefined;
}

/** What a matcher answers, as vitest and jest expect it. */
export interface MatcherResult {
  readonly pass: boolean;
  message(): string;
}

/** For `expect.extend`. */
export const matchers = {
  /**
   * What another implementation computed (a path, a dump, or tensors by name) is not different from a golden (a trace with noise, or its path), or from a model.
   * @throws what `compare` throws
   */
  async toMatchGolden(
    received: Dump | string | Readonly<Record<string, HeldTensor>>,
    golden: Dump | Model | string,
    { strict = false, ...options }: MatchOptions = {},
  ): Promise<MatcherResult> {
    const theirs = typeof received === 'string' || isDump(received) ? received : dumpOf(received);
    const found = await compare(theirs, golden, options);
    const pass = found.verdict !== 'different' && !(strict && found.verdict === 'suspicious');
    return { pass, message: () => comparisonSentence(found) };
  },

  /**
   * Values lie no further from ours than another order of the same roundings takes them.
   * @param ours in the dtype that is compared @param exact the same in float64: how far ours lies from it is the noise
   * @throws ShapeError unless all three are of one length, in whole rows
   */
  toBeWithinNoise(
    received: ArrayLike<number>,
    ours: ArrayLike<number>,
    exact: ArrayLike<number>,
    { dtype = 'float32', row = ours.length }: NoiseOptions = {},
  ): MatcherResult {
    if (received.length !== ours.length || ours.length !== exact.length || row < 1 || ours.length % row !== 0) {
      const lengths = `${received.length}, ${ours.length} and ${exact.length}`;
      throw new ShapeError(
        `Expected values, ours and the exact ones of one length, in rows of ${row}; got ${lengths}.`,
      );
    }
    const [theirs, own, truth] = [received, ours, exact].map((values) => Float64Array.from(values)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const positions = Array.from({ length: ours.length / row }, (_, r) => r);
    const rowOf = (values: Float64Array, r: number) => values.subarray(r * row, (r + 1) * row);
    const noise = Float64Array.from(
      positions.flatMap((r) => Object.values(distanceOf(rowOf(own, r), rowOf(truth, r)))),
    );
    const floors = floorsOf(
      noise,
      positions.map((r) => sizeOf(rowOf(own, r))),
      dtype,
    );
    const { measures, rows, worst } = measure({ positions, theirs, ours: own, rowShape: [row], floors }, dtype, false);
    const pass = rows.every(({ verdict }) => verdict === 'identical' || verdict === 'within noise');
    const message = () => {
      if (!worst) return `expected values beyond the noise of ${dtype}, got the same ones`;
      const [found, expected] = valueTexts(worst.theirs, worst.ours);
      const at = `row ${worst.position}, index ${worst.index[0]}: ${found}, ours ${expected}, noise ${figures(worst.noise)}`;
      return `expected values ${pass ? 'beyond' : 'within'} the noise of ${dtype}, got ${figures(measures.ratio)} x the noise, at ${at}`;
    };
    return { pass, message };
  },
};

function isDump(received: object): received is Dump {
  return 'tensors' in received && received.tensors instanceof Map;
}

function comparisonSentence(found: Comparison): string {
  const around = aroundLines(found, firstOf(found));
  const roots = found.bisection ? bisectionLines(found, found.bisection) : [];
  return [`${found.theirs} with ${found.ours}: ${verdictText(found)}`, ...around, ...roots].join('\n');
}

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: the parameter of vitest's own interface, which this one is merged with
  interface Matchers<T = any> {
    /** A path, a dump, or tensors by name are not different from a golden, or from a model. */
    toMatchGolden(golden: Dump | Model | string, options?: MatchOptions): Promise<T>;
    /** Values lie no further from ours than rounding takes ours from the exact ones, in float64. */
    toBeWithinNoise(ours: ArrayLike<number>, exact: ArrayLike<number>, options?: NoiseOptions): T;
  }
}
