/** What a model's config says of the layouts that its tensors may have. */
import type { ModelConfig } from '../../model/config.js';
import type { FusedPart } from './fused-names.js';
import type { LayoutHints } from './layout.js';

/**
 * The hints for a tensor of a trace.
 * @param ours its name; the layer's attention decides what rope turns
 * @param shape of ours: with a latent, what is turned are the last values of a head, whichever form the trace has
 * @param axes a letter for each axis, as traces have them
 * @param fused theirs holds queries, keys and values of which ours is one
 */
export function hintsFor(
  ours: string,
  shape: readonly number[],
  axes: string,
  config: ModelConfig,
  fused: FusedPart | null = null,
): LayoutHints {
  const [, layer, kind] = /^layers\.(\d+)\.(.*)$/.exec(ours) ?? [];
  const attention = config.layers[Number(layer)]?.attention;
  if (!attention || kind === undefined) return { axes };
  const isTurned = /^attention\.(?:[qk]|[qk]_rope|rope_key|rope_key_rope)$/.test(kind);
  const dim = attention.rope?.dim ?? 0;
  const from = attention.kind === 'latent' ? (shape.at(-1) ?? 0) - dim : 0;
  const rope = isTurned && attention.rope ? { from, size: dim, pairs: attention.rope.pairs } : null;
  if (fused === null || attention.kind === 'latent') return { axes, rope };
  const { queryHeads, keyValueHeads } = attention;
  return { axes, rope, fused: { part: fused, queryHeads, keyValueHeads } };
}
