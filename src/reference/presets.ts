/**
 * The shapes of well-known models, from the config.json that each of them was published with: what decides the bytes of a cache, and the
 * bytes of the weights in the dtype they were published in. (Tied weights count once; of Gemma 3 the text model alone, of DeepSeek-V3 the main model
 * without the layer that predicts a second token.)
 */
import type { AttentionShape, LayerShape, MemoryShape } from './memory-shape.js';

export interface Preset extends MemoryShape {
  readonly context: number;
  readonly weights: number;
  readonly parameters: number;
  /** Of the weights. */
  readonly dtype: string;
  /** The repository on the Hugging Face hub that the figures are from. */
  readonly source: string;
}

/** H query heads, G key/value heads, head dim K. */
const heads = (queryHeads: number, keyValueHeads: number, headDim: number): AttentionShape => {
  return { kind: 'grouped', queryHeads, keyValueHeads, headDim };
};

/** DeepSeek-V2 and V3 (DeepSeek-AI 2024, "DeepSeek-V2", section 3.1.2): 128 heads, and a latent of 512 with a rope key of 64 a token. */
const LATENT: AttentionShape = {
  kind: 'latent',
  queryHeads: 128,
  latentRank: 512,
  ropeDim: 64,
  nopeDim: 128,
  valueDim: 128,
};

/** Layers of one attention; those that `sees` gives a window see that many tokens, the others all. */
function layers(
  count: number,
  attention: AttentionShape,
  windowOf: (layer: number) => number | null = () => null,
): LayerShape[] {
  return Array.from({ length: count }, (_, i) => {
    const window = windowOf(i);
    return { attention, visibility: window === null ? { kind: 'causal' } : { kind: 'sliding', window } };
  });
}

const always = (window: number) => () => window;
/** Gemma 3 (`sliding_window_pattern` 6): five layers with a window, then one without. */
const fiveOfSix = (window: number) => (layer: number) => ((layer + 1) % 6 === 0 ? null : window);
/** gpt-oss (`layer_types`): every other layer, the first one among them. */
const everyOther = (window: number) => (layer: number) => (layer % 2 === 0 ? window : null);

/** Weights of 16 bits, unless others were published. */
function preset(
  name: string,
  source: string,
  layers: readonly LayerShape[],
  context: number,
  parameters: number,
  dtype = 'bfloat16',
  weights = 2 * parameters,
): Preset {
  return { name, source, layers, context, parameters, dtype, weights };
}

// biome-ignore format: one line a model
export const PRESETS: readonly Preset[] = [
  preset('llama-2-7b', 'meta-llama/Llama-2-7b-hf', layers(32, heads(32, 32, 128)), 4_096, 6_738_415_616, 'float16'),
  preset('llama-2-70b', 'meta-llama/Llama-2-70b-hf', layers(80, heads(64, 8, 128)), 4_096, 68_976_648_192, 'float16'),
  preset('llama-3-8b', 'meta-llama/Meta-Llama-3-8B', layers(32, heads(32, 8, 128)), 8_192, 8_030_261_248),
  preset('llama-3-70b', 'meta-llama/Meta-Llama-3-70B', layers(80, heads(64, 8, 128)), 8_192, 70_553_706_496),
  preset('llama-3.1-8b', 'meta-llama/Llama-3.1-8B', layers(32, heads(32, 8, 128)), 131_072, 8_030_261_248),
  preset('llama-3.1-70b', 'meta-llama/Llama-3.1-70B', layers(80, heads(64, 8, 128)), 131_072, 70_553_706_496),
  preset('mistral-7b-v0.1', 'mistralai/Mistral-7B-v0.1', layers(32, heads(32, 8, 128), always(4096)), 32_768, 7_241_732_096),
  preset('gemma-3-1b', 'google/gemma-3-1b-it', layers(26, heads(4, 1, 256), fiveOfSix(512)), 32_768, 999_885_952),
  preset('gemma-3-4b', 'google/gemma-3-4b-it', layers(34, heads(8, 4, 256), fiveOfSix(1024)), 131_072, 3_880_263_168),
  preset('gemma-3-12b', 'google/gemma-3-12b-it', layers(48, heads(16, 8, 256), fiveOfSix(1024)), 131_072, 11_766_034_176),
  preset('gemma-3-27b', 'google/gemma-3-27b-it', layers(62, heads(32, 16, 128), fiveOfSix(1024)), 131_072, 27_009_346_304),
  preset('qwen3-0.6b', 'Qwen/Qwen3-0.6B', layers(28, heads(16, 8, 128)), 40_960, 596_049_920),
  preset('qwen3-1.7b', 'Qwen/Qwen3-1.7B', layers(28, heads(16, 8, 128)), 40_960, 1_720_574_976),
  preset('qwen3-4b', 'Qwen/Qwen3-4B', layers(36, heads(32, 8, 128)), 40_960, 4_022_468_096),
  preset('qwen3-8b', 'Qwen/Qwen3-8B', layers(36, heads(32, 8, 128)), 40_960, 8_190_735_360),
  preset('qwen3-14b', 'Qwen/Qwen3-14B', layers(40, heads(40, 8, 128)), 40_960, 14_768_307_200),
  preset('qwen3-32b', 'Qwen/Qwen3-32B', layers(64, heads(64, 8, 128)), 40_960, 32_762_123_264),
  preset('qwen3-30b-a3b', 'Qwen/Qwen3-30B-A3B', layers(48, heads(32, 4, 128)), 40_960, 30_532_122_624),
  preset('qwen3-235b-a22b', 'Qwen/Qwen3-235B-A22B', layers(94, heads(64, 4, 128)), 40_960, 235_093_634_560),
  preset('gpt-oss-20b', 'openai/gpt-oss-20b', layers(24, heads(64, 8, 64), everyOther(128)), 131_072, 20_914_757_184, 'MXFP4 experts', 13_761_264_768),
  preset('gpt-oss-120b', 'openai/gpt-oss-120b', layers(36, heads(64, 8, 64), everyOther(128)), 131_072, 116_829_156_672, 'MXFP4 experts', 65_248_815_744),
  preset('deepseek-v2', 'deepseek-ai/DeepSeek-V2', layers(60, LATENT), 163_840, 235_741_434_880),
  preset('deepseek-v3', 'deepseek-ai/DeepSeek-V3', layers(61, LATENT), 163_840, 671_026_419_200, 'fp8 in blocks', 673_150_611_808),
];

/** The preset of that name; null: there is none. */
export function presetOf(name: string): Preset | null {
  return PRESETS.find((preset) => preset.name === name) ?? null;
}

/** Names of presets that are written nearly like this one, the nearest first: those that share most pairs of letters. */
export function presetsNear(name: string, most = 3): string[] {
  const asked = pairsOf(name);
  const alike = (other: string) => {
    const pairs = pairsOf(other);
    return (2 * [...pairs].filter((pair) => asked.has(pair)).length) / (asked.size + pairs.size || 1);
  };
  const near = PRESETS.map(({ name: other }) => ({ other, likeness: alike(other) }));
  near.sort((one, other) => other.likeness - one.likeness);
  return near
    .filter(({ likeness }) => likeness > 0)
    .slice(0, most)
    .map(({ other }) => other);
}

function pairsOf(name: string): Set<string> {
  const letters = name.toLowerCase().replace(/[^a-z0-9]/g, '');
  return new Set(Array.from({ length: Math.max(letters.length - 1, 0) }, (_, i) => letters.slice(i, i + 2)));
}
