/** The shapes of attention that are timed: one layer's heads, and what a cache stores of a token. */
import { headStreams } from '../../../attention/strategy/grouped.js';
import { latentStreams } from '../../../attention/strategy/latent.js';
import type { StreamSchema } from '../../../attention/streams.js';

export interface BenchShape {
  readonly name: string;
  /** Query heads / key/value heads / head dim, or of a latent its rank + its rope dim. */
  readonly heads: string;
  readonly queryHeads: number;
  /** What is stored for a token, by name: rows [heads, dim]. */
  readonly streams: readonly StreamSchema[];
  /** Those that are a key, side by side. */
  readonly keyStreams: readonly string[];
  readonly valueStream: string;
  /** Of scores. */
  readonly scale: number;
}

/** H query heads, G key/value heads, keys and values of K numbers. */
function grouped(name: string, queryHeads: number, keyValueHeads: number, headDim: number): BenchShape {
  return {
    name,
    heads: `${queryHeads}/${keyValueHeads}/${headDim}`,
    queryHeads,
    streams: headStreams(keyValueHeads, { headDim }),
    keyStreams: ['keys'],
    valueStream: 'values',
    scale: 1 / Math.sqrt(headDim),
  };
}

/** MLA in its absorbed form: all heads read one row, the latent beside the rope key, and the latent is the value too (DeepSeek-V2, equations 9 to 15). */
function latent(name: string, queryHeads: number, latentRank: number, ropeDim: number, nopeDim: number): BenchShape {
  return {
    name,
    heads: `${queryHeads}/1/${latentRank}+${ropeDim}`,
    queryHeads,
    streams: latentStreams({ latentRank, ropeDim }),
    keyStreams: ['latent', 'rope-key'],
    valueStream: 'latent',
    scale: 1 / Math.sqrt(nopeDim + ropeDim),
  };
}

/** From the config.json of openai-community/gpt2, HuggingFaceTB/SmolLM2-135M, meta-llama/Llama-3.2-1B and Llama-3.1-8B, deepseek-ai/DeepSeek-V2-Lite. */
export const BENCH_SHAPES: readonly BenchShape[] = [
  grouped('gpt2', 12, 12, 64),
  grouped('smollm2-135m', 9, 3, 64),
  grouped('llama-3.2-1b', 32, 8, 64),
  grouped('llama-3.1-8b', 32, 8, 128),
  latent('deepseek-v2-lite', 16, 512, 64, 128),
];

/** A shape by its name, or as H/G/K; null: it is neither. */
export function benchShapeOf(text: string): BenchShape | null {
  const known = BENCH_SHAPES.find(({ name }) => name === text);
  if (known) return known;
  const [, queryHeads, keyValueHeads, headDim] = (
    /^([1-9]\d{0,3})\/([1-9]\d{0,3})\/([1-9]\d{0,3})$/.exec(text) ?? []
  ).map(Number);
  if (!queryHeads || !keyValueHeads || !headDim || queryHeads % keyValueHeads !== 0) return null;
  return grouped(text, queryHeads, keyValueHeads, headDim);
}

export function keyDimOf({ streams, keyStreams }: BenchShape): number {
  return keyStreams.reduce((sum, key) => sum + streams.find(({ name }) => name === key)!.dim, 0);
}

export function valueDimOf({ streams, valueStream }: BenchShape): number {
  return streams.find(({ name }) => name === valueStream)!.dim;
}
