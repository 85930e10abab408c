/** Formulas that stretch rotary embeddings over a longer context: frequencies, and a factor on cos and sin. */
import type { Rope } from '../../math/rope.js';

type Stretched = Pick<Rope, 'frequencies' | 'magnitude'>;

interface Llama3 {
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/**
 * Llama 3.1: wavelengths beyond original context / low_freq_factor are stretched by `factor`, those below original context /
 * high_freq_factor stay, and those between are blended (`_compute_llama3_parameters` of transformers).
 */
export function scaledLlama3(frequency: number, given: Llama3): number {
  const turns = (given.original_max_position_embeddings * frequency) / (2 * Math.PI);
  const kept = (turns - given.low_freq_factor) / (given.high_freq_factor - given.low_freq_factor);
  return blend(frequency / given.factor, frequency, kept);
}

/**
 * NTK-aware scaling of the base by the length of a sequence, `stretch` times the trained one (bloc97 and emozilla 2023; Peng et al. 2023, "YaRN",
 * section 3.1, and `_compute_dynamic_ntk_parameters` of transformers).
 */
export function ntkBase(theta: number, dim: number, factor: number, stretch: number): number {
  return theta * (factor * stretch - (factor - 1)) ** (dim / (dim - 2));
}

export interface Yarn {
  readonly factor: number;
  readonly beta_fast?: number | null | undefined;
  readonly beta_slow?: number | null | undefined;
  readonly mscale?: number | null | undefined;
  readonly mscale_all_dim?: number | null | undefined;
  readonly attention_factor?: number | null | undefined;
  readonly truncate?: boolean | null | undefined;
  readonly original_max_position_embeddings?: number | null | undefined;
}

/** YaRN (Peng et al. 2023, section 3.2 and equation 22): a ramp over the pairs between beta_slow and beta_fast turns. */
export function yarn(given: Yarn, plain: readonly number[], theta: number, original: number): Stretched {
  const dim = 2 * plain.length;
  const pairAt = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = given.truncate ?? true;
  const [low, high] = [pairAt(given.beta_fast ?? 32), pairAt(given.beta_slow ?? 1)];
  const first = Math.max(whole ? Math.floor(low) : low, 0);
  const last = Math.min(whole ? Math.ceil(high) : high, dim - 1);
  const width = last - first || 0.001;
  return {
    frequencies: plain.map((frequency, i) => blend(frequency, frequency / given.factor, (i - first) / width)),
    magnitude: given.attention_factor ?? yarnMagnitude(given),
  };
}

function yarnMagnitude({ factor, mscale, mscale_all_dim: all }: Yarn): number {
  return mscale && all ? mscaleOf(factor, mscale) / mscaleOf(factor, all) : mscaleOf(factor, 1);
}

/** 0.1 m ln(factor) + 1 (YaRN, equation 22, with DeepSeek's m). */
export function mscaleOf(factor: number, m: number): number {
  return factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;
}

export interface LongRope {
  readonly short_factor: readonly number[];
  readonly long_factor: readonly number[];
  readonly factor?: number | null | undefined;
  readonly attention_factor?: number | null | undefined;
}

/**
 * LongRoPE (Ding et al. 2024, section 3.3): each pair's frequency is divided by a factor of its own, from another list for sequences beyond the original
 * context (`_compute_longrope_parameters` of transformers).
 */
export function longRope(
  given: LongRope,
  plain: readonly number[],
  { original, context, length }: { original: number; context: number; length: number },
): Stretched {
  const factors = length > original ? given.long_factor : given.short_factor;
  const stretch = given.factor ?? context / original;
  const derived = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
  return {
    frequencies: plain.map((frequency, i) => frequency / factors[i]!),
    magnitude: given.attention_factor ?? derived,
  };
}

/** a where part <= 0, b where part >= 1, a straight line between. */
function blend(a: number, b: number, part: number): number {
  const clamped = Math.min(Math.max(part, 0), 1);
  return a * (1 - clamped) + b * clamped;
}
