/** Names of tensors that hold queries, keys and values of a layer. */
import type { ModelConfig } from '../../model/config.js';
import { placeOf } from './place.js';

export type FusedPart = 'q' | 'k' | 'v';

const MODULES =
  /^(?:self_attn|attn|attention|self_attention)\.(?:c_attn|query_key_value|qkv_proj|Wqkv|W_pack|wqkv|qkv|qkv_layer)$/;
const LLAMA_CPP = /^wqkv(?:_b|_clamped)?-(\d+)(?:#\d+)?$/;

/**
 * The names of a trace that parts of a tensor have: projected, so before rope. Those that something is done to first (a norm, a clip) are left out.
 * @returns empty: the name is not that of such a tensor
 */
export function fusedNames(
  name: string,
  config: ModelConfig | null = null,
): readonly { part: FusedPart; ours: string }[] {
  const layer = layerOf(name);
  if (layer === null) return [];
  const attention = config?.layers[layer]?.attention;
  if (attention?.kind === 'latent') return [];
  const clipped = attention !== undefined && attention.clip !== null && !name.includes('_clamped');
  const normed = attention?.qkNorm?.place === 'before-rope';
  const parts = (['q', 'k', 'v'] as const).filter((part) => !clipped && !(normed && part !== 'v'));
  return parts.map((part) => ({ part, ours: `layers.${layer}.attention.${part}` }));
}

function layerOf(name: string): number | null {
  const graph = LLAMA_CPP.exec(name);
  if (graph) return Number(graph[1]);
  const { layer, path, side } = placeOf(name);
  return side === 'output' && MODULES.test(path) ? layer : null;
}
