/**
 * Names of tensors in the graphs of llama.cpp, as `llama-eval-callback` and the callback of `cli/dumpers/llama_cpp.md` give them (read in src/llama-graph.cpp and
 * src/models/ of 2026): `NAME-LAYER`, and a name alone outside of layers. Several tensors of a graph may have one name: queries do, as they are
 * projected, given their shape and rotated; `.rope` (or ` (rope)`) after a name, which the callback adds, is the one that was rotated.
 */
import type { LayerConfig, ModelConfig } from '../../model/config.js';
import { tokensEnter } from './modules.js';
import { runName } from './run-names.js';

const NAME =
  /^(?<base>[A-Za-z][\w()]*?)(?:-(?<layer>\d+))?(?<rope>\.rope| \(rope\))?(?: \((?:reshaped|view|copy|cont)[^)]*\))*(?:#(?<again>\d+))?$/;

/** The names of a trace that a tensor of a graph may have, the best first; empty: the name is none of these, or means nothing in a trace. */
export function llamaCppMeaning(name: string, config: ModelConfig | null): readonly string[] {
  const found = NAME.exec(name);
  if (!found) return [];
  const { base, layer, rope, again } = found.groups as Record<string, string | undefined>;
  if (layer === undefined || base === 'inp_norm') return outside(base!, Number(again ?? 0), config);
  const own = config?.layers[Number(layer)] ?? null;
  return meaningIn(base!, rope !== undefined, own).map((meaning) => `layers.${layer}.${meaning}`);
}

function meaningIn(base: string, rope: boolean, own: LayerConfig | null): readonly string[] {
  const projection = /^([QKV])cur(_normed|_clamped|_cont)?$/.exec(base);
  if (projection) return projectionMeaning(projection[1]!.toLowerCase(), projection[2] ?? '', rope, own);
  if (base === 'k_pe') return [rope ? 'attention.rope_key_rope' : 'attention.rope_key'];
  // With a latent, the last of these are the queries; without one, there is no such name.
  if (base === 'q') return ['attention.q'];
  if (rope) return [];
  const names = Object.hasOwn(OF_LAYERS, base) ? OF_LAYERS[base]! : [];
  // A branch that is parallel has no stream between its parts.
  return own?.parallel ? names.filter((name) => name !== 'attention.residual') : names;
}

/** With a latent, queries and keys get their name when their rotated part is put to the rest. */
function projectionMeaning(letter: string, suffix: string, rope: boolean, own: LayerConfig | null): readonly string[] {
  const plain = `attention.${letter}`;
  if (letter === 'v') return [plain];
  const rotated = [`${plain}_rope`];
  if (own?.attention.kind === 'latent') return rotated;
  if (rope) return [...rotated, plain];
  const place = own?.attention.kind === 'grouped' ? own.attention.qkNorm?.place : undefined;
  if (suffix === '_normed') return place === 'after-rope' ? rotated : [plain];
  return place === 'before-rope' ? rotated : [plain, ...rotated];
}

/** `attn_norm` and what follows it, in the order of the graph. Of a router's weights, and of names for one thing, the later is the better: see `rankOf`. */
const OF_LAYERS: Readonly<Record<string, readonly string[]>> = {
  attn_norm: ['attention.input'],
  kq_soft_max: ['attention.probabilities'], kq_soft_max_ext: ['attention.probabilities'],
  kqv: ['attention.heads'], kqv_mla: ['attention.heads'], kqv_out: ['attention.heads'],
  kv_cmpr: ['attention.latent'], kv_cmpr_reshape: ['attention.latent'],
  attn_out: ['attention.output'], attn_post_norm: ['attention.output_norm'],
  sa_out: ['attention.residual'], ffn_inp: ['attention.residual'],
  ffn_norm: ['feed_forward.input'],
  ffn_relu: ['feed_forward.hidden'], 'ffn_sqr(relu)': ['feed_forward.hidden'], ffn_gelu: ['feed_forward.hidden'], ffn_silu: ['feed_forward.hidden'],
  ffn_swiglu: ['feed_forward.hidden'], ffn_geglu: ['feed_forward.hidden'], ffn_reglu: ['feed_forward.hidden'], ffn_gate_par: ['feed_forward.hidden'],
  ffn_moe_logits: ['router.logits'], ffn_moe_logits_biased: ['router.logits'],
  ffn_moe_topk: ['router.experts'],
  ffn_moe_weights: ['router.weights'], ffn_moe_weights_softmax: ['router.weights'], ffn_moe_weights_norm: ['router.weights'], ffn_moe_weights_scaled: ['router.weights'],
  ffn_moe_out: ['feed_forward.output'], ffn_out: ['feed_forward.output'], ffn_post_norm: ['feed_forward.output_norm'],
  l_out: ['output'],
}; // biome-ignore format: a table

const OUTSIDE: Readonly<Record<string, string>> = {
  inp_embd: 'embeddings', embd: 'embeddings', inpL: 'embeddings', inp_norm: 'embeddings', inp_scaled: 'embeddings',
  result_norm: 'final_norm', result_output: 'logits',
}; // biome-ignore format: a table

function outside(base: string, again: number, config: ModelConfig | null): readonly string[] {
  // Gemma 2 and OLMo 2 say no layer of this one, so the n-th is that of layer n.
  if (base === 'ffn_post_norm') return [`layers.${again}.feed_forward.output_norm`];
  if (again > 0) return [];
  const ofRun = runName(base);
  if (ofRun) return [ofRun];
  if (!Object.hasOwn(OUTSIDE, base)) return [];
  return /^(inp_)?embd$/.test(base) && config !== null && !tokensEnter(config) ? [] : [OUTSIDE[base]!];
}

const ORDER = [...Object.keys(OF_LAYERS), ...Object.keys(OUTSIDE)];

/**
 * Which of several tensors is nearest to what a trace has under one name: the greater. A graph makes them one after the other (a product, then the
 * sum with a bias), so the later is; the name that says what was done to queries is nearer than the one that does not.
 */
export function rankOf(name: string): number {
  const { base = '', rope, again = 0 } = NAME.exec(name)?.groups ?? {};
  return ORDER.indexOf(base) + (rope || base.endsWith('_normed') ? 100 : 0) + Math.min(Number(again), 999) / 1000;
}
