/** Attention calls that are hard on a kernel, and the truth of each: the reference kernel in float64, which its own suite holds against the definition. */
import type { AttentionCall, AttentionKernel } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import type { CacheBlock } from '../../attention/streams.js';
import { causal } from '../../attention/visibility/causal.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { inFloat64, largestValue, scoreSizeOf } from '../../src/reference/kernel-error.js';
import { type Floats, flat, tensor, zerosLike } from '../../src/tensor/tensor.js';
import { noise, type Problem, problem, type Shape, single } from './streams.js';

/** A call of one block, and what makes it hard. */
export interface Adversary {
  readonly name: string;
  readonly call: AttentionCall;
}

interface Wanted {
  readonly shape: Shape;
  /** Only the last query: a decode step. */
  readonly decode?: true;
  readonly change?: (given: Problem) => void;
  readonly rules?: Partial<AttentionCall>;
}

const scaled = (given: Problem, factor: number) => {
  given.q_THK.data.forEach((x, i) => {
    given.q_THK.data[i] = x * factor;
  });
};

/** Keys [T, 1, 1] whose scores, with a query of 1 and a scale of 1, are these. */
function scoresOf(given: Problem, scoreAt: (s: number) => number): void {
  given.q_THK.data.fill(1);
  given.rows.keys!.data.forEach((_, s) => {
    given.rows.keys!.data[s] = scoreAt(s);
  });
}

const ONE: Shape = { T: 1, G: 1, perGroup: 1, K: 8, V: 8 };
const LINE: Shape = { T: 300, G: 1, perGroup: 1, K: 1, V: 8 };

const WANTED: Readonly<Record<string, Wanted>> = {
  'T = 1': { shape: ONE },
  'T = 16,384': { shape: { T: 16384, G: 1, perGroup: 2, K: 16, V: 16 }, decode: true },
  'head_dim 33 and 7': { shape: { T: 70, G: 2, perGroup: 3, K: 33, V: 7 } },
  'one head': { shape: { T: 200, G: 1, perGroup: 1, K: 64, V: 64 } },
  '128 heads': { shape: { T: 130, G: 8, perGroup: 16, K: 32, V: 32 }, decode: true },
  '128 heads of one latent': { shape: { T: 70, G: 1, perGroup: 128, K: 72, V: 64 }, decode: true },
  'equal scores': { shape: LINE, change: (given) => scoresOf(given, () => 1) },
  'large scores (thousands)': {
    shape: { T: 150, G: 1, perGroup: 2, K: 32, V: 16 },
    change: (given) => scaled(given, 1000),
  },
  'one score far above the others': {
    shape: LINE,
    change: (given) => scoresOf(given, (s) => (s === 77 ? 80 : -s / 300)),
  },
  'weights that underflow': { shape: LINE, change: (given) => scoresOf(given, (s) => -(300 - s) * 0.75) },
  'scores of -Infinity': {
    shape: LINE,
    change: (given) => {
      scoresOf(given, (s) => (s % 3 === 1 ? -3e38 : s / 300)); // every query sees one that is finite
      given.q_THK.data.fill(3); // -9e38 is beyond float32
    },
  },
  'chunks that are hidden': { shape: { T: 300, G: 2, perGroup: 2, K: 16, V: 16 }, rules: { visibility: sliding(5) } },
  'a query that sees nothing': {
    shape: { T: 80, G: 1, perGroup: 1, K: 8, V: 8 },
    rules: { visibility: { ...causal, name: 'nothing', sees: () => false, oldest: (query) => query + 1 } },
  },
  'NaN and Infinity in hidden rows': {
    shape: { T: 80, G: 1, perGroup: 2, K: 8, V: 8 },
    decode: true,
    rules: { visibility: sliding(9) },
    change: ({ rows }) => {
      rows.values!.data.fill(Number.NaN, 0, 100);
      rows.keys!.data.fill(Number.POSITIVE_INFINITY, 0, 100);
    },
  },
  'a strong sink': {
    shape: { T: 90, G: 1, perGroup: 4, K: 16, V: 16 },
    rules: { sinkLogits_H: Float32Array.of(-50, 0, 3, 60) },
  },
  softcap: {
    shape: { T: 90, G: 1, perGroup: 4, K: 16, V: 16 },
    rules: { softcap: 5 },
    change: (given) => scaled(given, 30),
  },
  ALiBi: {
    shape: { T: 300, G: 1, perGroup: 4, K: 16, V: 16 },
    rules: { alibi: { form: 'distance', factor: 1, slopes: [0.5, 0.25, 0.1, 0.004] } },
  },
};

export const ADVERSARIES: readonly Adversary[] = Object.entries(WANTED).map(([name, wanted]) => ({
  name,
  call: callOf(wanted),
}));

function callOf({ shape, decode, change, rules = {} }: Wanted): AttentionCall {
  const given = problem(shape, single);
  change?.(given);
  const { T, G, perGroup, K, V } = shape;
  const q_THK = decode ? tensor(flat(given.q_THK).slice(-G * perGroup * K), [1, G * perGroup, K]) : given.q_THK;
  const positions = decode ? Int32Array.of(T - 1) : given.positions;
  const block: CacheBlock = { positions: given.positions, read: (stream) => given.rows[stream]! };
  const out_THV = tensor(new Float32Array(positions.length * G * perGroup * V), [positions.length, G * perGroup, V]);
  const fixed = { keyStreams: ['keys'], valueStream: 'values', scale: K === 1 ? 1 : K ** -0.5, visibility: causal };
  return { q_THK, positions, blocks: [block], ...fixed, sinkLogits_H: null, ...PLAIN_SCORES, out_THV, ...rules };
}

const UNIT = 2 ** -24;

/** The error of a kernel against the truth and what it declares, in unit roundoffs of the largest value that is seen. */
export async function truthErrorOf(
  kernel: AttentionKernel,
  { call }: Adversary,
): Promise<{ error: number; bound: number }> {
  const out_THV = zerosLike(call.out_THV, call.out_THV.shape);
  await kernel.attend([{ ...call, out_THV }]);
  const truth = truthOf(call);
  let error = 0;
  for (const [i, value] of flat(out_THV).entries()) {
    error = Math.max(error, Math.abs(value - truth[i]!)); // which keeps a NaN
  }
  const keys = call.blocks[0]!.positions.length;
  const seen = seenOf(call);
  return { error: error / (largestValue(seen) || 1) / UNIT, bound: kernel.truthBound!(keys, scoreSizeOf(seen), UNIT) };
}

function truthOf(call: AttentionCall): Floats {
  const wide = inFloat64(call);
  reference.attend([wide]);
  return flat(wide.out_THV);
}

/** The call with what no query sees, and what overflows, put to zero: neither counts for a bound. */
function seenOf(call: AttentionCall): AttentionCall {
  const { visibility, positions } = call;
  const blocks = call.blocks.map((block) => ({
    positions: block.positions,
    read(stream: string) {
      const rows = block.read(stream);
      const copy = tensor(Float32Array.from(flat(rows)), rows.shape);
      const width = rows.shape[1]! * rows.shape[2]!;
      for (const [row, position] of block.positions.entries()) {
        const seen = positions.some((query) => visibility.sees(query, position));
        for (let i = row * width; i < (row + 1) * width; i++)
          if (!seen || Math.abs(copy.data[i]!) > 1e30) copy.data[i] = 0;
      }
      return copy;
    },
  }));
  return { ...call, blocks };
}

/** Numbers that a NaN or an infinity must not pass by unseen. */
export function faulty(where: 'q' | 'keys' | 'values', fault: number): AttentionCall {
  const given = problem({ T: 70, G: 1, perGroup: 2, K: 8, V: 8 }, single);
  const data = where === 'q' ? given.q_THK.data : given.rows[where]!.data;
  data[where === 'q' ? data.length - 1 : 8 * 40 + 3] = fault;
  const out_THV = tensor(single(noise(70 * 2 * 8, 1)), [70, 2, 8]);
  const blocks = [{ positions: given.positions, read: (stream: string) => given.rows[stream]! }];
  const fixed = { keyStreams: ['keys'], valueStream: 'values', scale: 0.3, visibility: causal, sinkLogits_H: null };
  return { q_THK: given.q_THK, positions: given.positions, blocks, ...fixed, ...PLAIN_SCORES, out_THV };
}

/** Two keys with scores of 1 and -300, whose weight is 0 in float32: its value has this fault. */
export function vanishing(fault: number): AttentionCall {
  const values = Float32Array.of(1, 1, fault, 1);
  return twoKeys(Float32Array.of(1, -300), values, 1);
}

/** Two keys, both with a score that overflows to -Infinity. */
export function hopeless(): AttentionCall {
  return twoKeys(Float32Array.of(-3e38, -2e38), single(noise(4, 1)), 3e38);
}

function twoKeys(keys: Floats, values: Floats, q: number): AttentionCall {
  const rows = { keys: tensor(keys, [2, 1, 1]), values: tensor(values, [2, 1, 2]) };
  const blocks = [{ positions: Int32Array.of(0, 1), read: (stream: string) => rows[stream as 'keys']! }];
  const fixed = { keyStreams: ['keys'], valueStream: 'values', scale: 1, visibility: causal, sinkLogits_H: null };
  const q_THK = tensor(Float32Array.of(q), [1, 1, 1]);
  const out_THV = tensor(new Float32Array(2), [1, 1, 2]);
  return { q_THK, positions: Int32Array.of(1), blocks, ...fixed, ...PLAIN_SCORES, out_THV };
}
