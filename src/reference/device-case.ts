/** The decode step that devices are tested with: rows in a real cache, a query, and what the reference kernel makes of them in float64. */
import type { KvCache } from '../../attention/cache/cache.js';
import { CACHES } from '../../attention/cache/index.js';
import type { AttentionCall, ScoreSize } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import { consecutive, type StreamRows, type StreamSchema } from '../../attention/streams.js';
import { causal } from '../../attention/visibility/causal.js';
import { uniform } from '../generate/sampler.js';
import { type Floats, flat, rowsOf, type Tensor, tensor, zerosLike } from '../tensor/tensor.js';
import { inFloat64, largestValue, scoreSizeOf } from './kernel-error.js';

/** Sizes of the attention that is tested. */
export interface TestShape {
  /** H */
  readonly queryHeads: number;
  /** G */
  readonly keyValueHeads: number;
  /** K and V */
  readonly headDim: number;
  /** Tokens that the step's token sees, itself counted. */
  readonly tokens: number;
}

/** Heads as in Llama 3.2 1B, and so many tokens that what is read outweighs what any call costs. */
export const TEST_SHAPE: TestShape = { queryHeads: 32, keyValueHeads: 8, headDim: 64, tokens: 4096 };

/** Forms of rows that kernels read by code of their own. */
const TESTED_DTYPES = ['float32', 'int8'] as const;

export type TestedDtype = (typeof TESTED_DTYPES)[number];

/** One token's attention over those before it and itself. */
interface Step {
  /** Holds all tokens but the step's own. */
  readonly cache: KvCache;
  /** The rows of the step's token. */
  readonly newest: StreamRows;
  readonly q_THK: Tensor;
}

export interface TestCase extends Step {
  readonly kvDtype: TestedDtype;
  readonly shape: TestShape;
  /** Of all rows, as the cache keeps them. */
  readonly kvBytes: number;
  readonly expected: Floats;
  readonly largestValue: number;
  readonly scores: ScoreSize;
}

/** One case for each form of rows, of the same numbers. @param pause lets signals in between them */
export async function testCases(shape: TestShape, pause: () => Promise<void>): Promise<readonly TestCase[]> {
  const rows = drawnRows(shape);
  const q_THK = pointedQueries(shape, flat(rows.keys!));
  const cases: TestCase[] = [];
  for (const kvDtype of TESTED_DTYPES) {
    await pause();
    cases.push(testCase(shape, rows, q_THK, kvDtype));
  }
  return cases;
}

/** Stores the rows of the step's token. @returns its call, which is valid until the cache is told to `abort` */
export function beginStep({ cache, newest, q_THK }: Step): AttentionCall {
  const positions = Int32Array.of(cache.next);
  cache.begin(positions, [0]);
  cache.write(0, newest);
  return {
    q_THK,
    positions,
    blocks: cache.blocks(0),
    keyStreams: ['keys'],
    valueStream: 'values',
    scale: q_THK.shape[2]! ** -0.5,
    visibility: causal,
    sinkLogits_H: null,
    ...PLAIN_SCORES,
    out_THV: zerosLike(q_THK, q_THK.shape),
  };
}

/** Numbers of variance 1, from a seed. */
function drawnRows({ keyValueHeads, headDim, tokens }: TestShape): StreamRows {
  const random = uniform(0);
  const shape = [tokens, keyValueHeads, headDim];
  const size = tokens * keyValueHeads * headDim;
  const drawn = () =>
    tensor(
      Float32Array.from({ length: size }, () => Math.sqrt(12) * (random() - 0.5)),
      shape,
    );
  return { keys: drawn(), values: drawn() };
}

/**
 * Each query head is a multiple of one key, to which it attends above all: the first head of the first token's, the last of the step's own, and those
 * between of tokens between. So a row that is left out, or taken for another one, changes the result by much more than any bound.
 */
function pointedQueries({ queryHeads, keyValueHeads, headDim, tokens }: TestShape, keys: Floats): Tensor {
  const q = new Float32Array(queryHeads * headDim);
  for (let h = 0; h < queryHeads; h++) {
    const token = Math.round((h * (tokens - 1)) / Math.max(queryHeads - 1, 1));
    const g = Math.floor((h * keyValueHeads) / queryHeads);
    for (let k = 0; k < headDim; k++) q[h * headDim + k] = 1.5 * keys[(token * keyValueHeads + g) * headDim + k]!;
  }
  return tensor(q, [1, queryHeads, headDim]);
}

function testCase(shape: TestShape, rows: StreamRows, q_THK: Tensor, kvDtype: TestedDtype): TestCase {
  const before = shape.tokens - 1;
  const cache = emptyCache(shape, kvDtype);
  cache.begin(consecutive(0, before), Array(before).fill(0));
  cache.write(0, between(rows, 0, before));
  cache.commit();
  const step: Step = { cache, newest: between(rows, before, shape.tokens), q_THK };
  const exact = inFloat64(beginStep(step));
  reference.attend([exact]);
  cache.abort();
  return {
    ...step,
    kvDtype,
    shape,
    kvBytes: (cache.bytes().used / before) * shape.tokens,
    expected: flat(exact.out_THV),
    largestValue: largestValue(exact),
    scores: scoreSizeOf(exact),
  };
}

function emptyCache({ keyValueHeads, headDim, tokens }: TestShape, dtype: TestedDtype): KvCache {
  const streams = ['keys', 'values'].map(
    (name): StreamSchema => ({ name, heads: keyValueHeads, dim: headDim, key: name === 'keys' }),
  );
  const sizes = { cacheTokens: tokens, pageSize: 16, poolPages: Number.POSITIVE_INFINITY };
  return CACHES.preallocated(
    { layers: [{ streams, retention: causal }], precision: 'float32', dtype },
    sizes,
  ).newCache();
}

function between(rows: StreamRows, from: number, to: number): StreamRows {
  return Object.fromEntries(Object.entries(rows).map(([name, all]) => [name, rowsOf(all, from, to)]));
}
