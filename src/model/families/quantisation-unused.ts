/** Scales of what touchstone does not quantise as their checkpoints ask. */

const ACTIVATIONS = /[._](activation_scale|input_scale|input_scale_ub|input_zero_point)$/;
/** In a cache of floats they change nothing; for an fp8 cache scales are given with `--kv-scales` or stay 1. */
const CACHE = /\.(k_scale|v_scale|q_scale|kv_scale|prob_output_scale|output_scale)$/;

/** @returns whether a tensor's name is that of such a scale, where the config says that it has some */
export function unusedScales(has: { activations: boolean; cache: boolean }): (name: string) => boolean {
  return (name) => (has.activations && ACTIVATIONS.test(name)) || (has.cache && CACHE.test(name));
}
