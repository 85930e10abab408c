/** Attention on a GPU: all chunks of keys side by side, merged there, so that what comes back does not grow with their number. */
import type { AttentionCall } from '../kernel.js';
import { type ArenaStream, headScale } from './arena.js';
import { greatestSource, mergedSource, sumsSource, weightsSource } from './fold-sources.js';
import type { Folded } from './folded.js';
import type { GpuArray, GpuView } from './gpu-array.js';
import type { KeyGroup } from './keys.js';
import type { Packing } from './queries.js';
import { scoresSource } from './scores-source.js';
import { CHUNK } from './source.js';
import type { WebGpu } from './webgpu-device.js';

export async function foldOnGpu(
  gpu: WebGpu,
  call: AttentionCall,
  packing: Packing,
  q: GpuView,
  group: KeyGroup<GpuArray>,
  folded: Folded,
): Promise<void> {
  if (group.list.count === 0) return;
  const merged = await gpu.read(await mergedOf(gpu, call, packing, q, group));
  addInto(folded, packing, group.values, merged);
}

/** merged [packs of all heads, V + 2, lanes] */
async function mergedOf(
  gpu: WebGpu,
  call: AttentionCall,
  { lanes, groups, packs }: Packing,
  q: GpuView,
  { list, parts, values }: KeyGroup<GpuArray>,
): Promise<GpuView> {
  const rows = groups * packs;
  const { count } = list;
  const chunks = Math.ceil(count / CHUNK);
  const keys = chunks * CHUNK;
  const valueDim = values.schema.dim;
  const columns = 8 * Math.ceil((valueDim + 1) / 8);
  const [slots, positions] = [list.slots, list.positions].map((array) => array.view([keys]));

  const score = scoresSource(parts.map(({ schema }) => schema), lanes, call, 'listed'); // biome-ignore format: one thought
  const keyViews = parts.flatMap(viewsOf);
  const scored = await gpu.run(
    score,
    [8, keys / 8, rows],
    [q, slots!, positions!, ...keyViews],
    [count, packs, call.visibility.sinks],
  );
  const scores = { ...scored, dims: [lanes, keys, rows] };
  const most = await gpu.run(greatestSource(lanes), [chunks, rows], [scores], [count]);
  const greatest = { ...most, dims: [lanes, chunks, rows] };
  const weighed = await gpu.run(weightsSource(lanes), [8, keys / 8, rows], [scores, greatest], []);
  const weights = { ...weighed, dims: [lanes, keys, rows] };
  const sum = sumsSource(values.schema, lanes, CHUNK, 'listed', true);
  const sums = await gpu.run(sum, [columns, chunks, rows], [weights, slots!, ...viewsOf(values)], [packs]);
  return gpu.run(mergedSource(valueDim, lanes, mostChunks(chunks)), [valueDim + 2, rows], [greatest, sums], [chunks]);
}

/** The bound of a loop is compiled: powers of two. */
function mostChunks(chunks: number): number {
  return Math.max(2 ** Math.ceil(Math.log2(chunks)), 16);
}

function viewsOf({ values, width, scales, scaleWidth }: ArenaStream<GpuArray>): GpuView[] {
  const view = values.view([width, values.length / width]);
  return scales ? [view, scales.view([scaleWidth, scales.length / scaleWidth])] : [view];
}

function addInto(folded: Folded, { groups, packs, lanes }: Packing, values: ArenaStream, merged: Float32Array): void {
  const { valueDim } = folded;
  for (let z = 0; z < groups * packs; z++) {
    const scale = headScale(values, Math.floor(z / packs));
    for (let lane = 0; lane < lanes; lane++) {
      const [row, at] = [z * lanes + lane, (v: number) => (z * (valueDim + 2) + v) * lanes + lane];
      const factor = folded.raise(row, merged[at(valueDim + 1)]!);
      folded.total[row] = folded.total[row]! + merged[at(valueDim)]! * factor;
      for (let v = 0; v < valueDim; v++) {
        const sum = row * valueDim + v;
        folded.sums[sum] = folded.sums[sum]! + merged[at(v)]! * factor * scale;
      }
    }
  }
}
