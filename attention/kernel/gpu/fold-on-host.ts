/**
 * Attention on a device whose memory is the host's: two kernels a page of keys, and between them the softmax, which goes on from page to page
 * (Milakov & Gimelshein 2018, algorithm 3).
 */
import type { AttentionCall } from '../kernel.js';
import { type ArenaStream, headScale } from './arena.js';
import type { View } from './device.js';
import { sumsSource, UNSEEN } from './fold-sources.js';
import type { Folded } from './folded.js';
import type { HostArray, HostDevice } from './host-device.js';
import type { KeyGroup } from './keys.js';
import type { Packing } from './queries.js';
import { scoresSource } from './scores-source.js';
import { CHUNK, HIDDEN, HIDDEN_BELOW } from './source.js';

/** Keys of a page: a kernel is compiled for each size, and what a page has too few of is computed in vain. */
const PAGES = [CHUNK, 2 * CHUNK, 4 * CHUNK];

/** A page of a group's keys: `count` of them from key `first` of the list on, in rows that follow each other from `slot` on. */
interface Page {
  readonly first: number;
  readonly count: number;
  /** Keys that kernels compute. */
  readonly size: number;
  readonly slot: number;
  /** Rows between the beginning of a run that shares scales and the first key's row. */
  readonly phase: number;
}

export function foldOnHost(
  device: HostDevice,
  call: AttentionCall,
  packing: Packing,
  q: View,
  group: KeyGroup<HostArray>,
  folded: Folded,
): void {
  for (let first = 0; first < group.list.count; ) {
    const page = pageAt(group, first);
    const scores = scoresOf(device, call, packing, q, group, page);
    if (weighInPlace(scores, packing, page, folded)) {
      let sums = sumsOf(device, packing, group, page, scores, false);
      if (hasNaN(sums)) {
        markUnseen(scores, scoresOf(device, call, packing, q, group, page));
        sums = sumsOf(device, packing, group, page, scores, true);
      }
      addSums(packing, group, sums, folded);
    }
    first += page.count;
  }
}

function pageAt({ list, alignment }: KeyGroup<HostArray>, first: number): Page {
  const { slot, count } = list.runFrom(first, PAGES.at(-1)!);
  return { first, count, size: PAGES.find((keys) => keys >= count)!, slot, phase: slot % alignment };
}

/** Scores [packs of all heads, keys, lanes]. */
function scoresOf(
  device: HostDevice,
  call: AttentionCall,
  packing: Packing,
  q: View,
  { list, parts }: KeyGroup<HostArray>,
  page: Page,
): Float32Array {
  const { lanes, groups, packs } = packing;
  const source = scoresSource(parts.map(({ schema }) => schema), lanes, call, 'paged'); // biome-ignore format: one thought
  const positions = list.positions.view(page.first, [page.size]);
  const views = [q, positions, ...parts.flatMap((part) => viewsOf(part, page))];
  const scalars = [page.count, packs, call.visibility.sinks, page.phase];
  return device.run(source, [8, page.size / 8, groups * packs], views, scalars);
}

/** Of scales as many runs as a page's rows may lie in. */
function viewsOf({ values, width, scales, scaleWidth, run }: ArenaStream<HostArray>, { slot, size }: Page): View[] {
  const view = values.view(slot * width, [width, size]);
  if (!scales) return [view];
  const runs = run === 1 ? size : Math.ceil(size / run) + 1;
  return [view, scales.view(Math.floor(slot / run) * scaleWidth, [scaleWidth, runs])];
}

/** Scores become weights beside the greatest score so far. @returns whether any query sees any key */
function weighInPlace(
  scores: Float32Array,
  { groups, packs, lanes }: Packing,
  { count, size }: Page,
  folded: Folded,
): boolean {
  let seen = false;
  for (let row = 0; row < groups * packs * lanes; row++) {
    const from = Math.floor(row / lanes) * size * lanes + (row % lanes);
    let [greatest, visible] = [HIDDEN, false];
    for (let i = 0; i < count; i++) {
      const score = scores[from + i * lanes]!;
      if (score > greatest) greatest = score;
      visible ||= !(score < HIDDEN_BELOW); // NaN is seen
    }
    if (visible) folded.raise(row, greatest);
    seen ||= visible;
    weighRow(scores, from, lanes, size, row, folded);
  }
  return seen;
}

/** Keys that are not there are hidden, and weigh 0. */
function weighRow(
  scores: Float32Array,
  from: number,
  lanes: number,
  size: number,
  row: number,
  { greatest, total }: Folded,
): void {
  const most = greatest[row]!;
  let sum = 0;
  for (let at = from; at < from + size * lanes; at += lanes) {
    scores[at] = scores[at]! < HIDDEN_BELOW ? 0 : Math.exp(scores[at]! - most);
    sum += scores[at]!;
  }
  total[row] = total[row]! + sum;
}

/** Sums [packs of all heads, V, lanes]. What no query sees is seldom NaN: they are guarded against it only if they come out so. */
function sumsOf(
  device: HostDevice,
  { groups, packs, lanes }: Packing,
  { values }: KeyGroup<HostArray>,
  page: Page,
  weights: Float32Array,
  guarded: boolean,
): Float32Array {
  const source = sumsSource(values.schema, lanes, page.size, 'paged', guarded);
  const packed: View = { data: weights, dims: [lanes, page.size, groups * packs] };
  const views = [packed, ...viewsOf(values, page)];
  return device.run(source, [values.schema.dim, 1, groups * packs], views, [packs, page.phase]);
}

/** Tells weights of what is hidden from those that are 0. */
function markUnseen(weights: Float32Array, scores: Float32Array): void {
  for (const [i, score] of scores.entries()) if (score < HIDDEN_BELOW) weights[i] = UNSEEN;
}

function addSums(
  { groups, packs, lanes }: Packing,
  { values }: KeyGroup<HostArray>,
  sums: Float32Array,
  folded: Folded,
): void {
  const { valueDim } = folded;
  for (let z = 0; z < groups * packs; z++) {
    const scale = headScale(values, Math.floor(z / packs));
    for (let v = 0; v < valueDim; v++) {
      for (let lane = 0; lane < lanes; lane++) {
        const at = (z * lanes + lane) * valueDim + v;
        folded.sums[at] = folded.sums[at]! + sums[(z * valueDim + v) * lanes + lane]! * scale;
      }
    }
  }
}

function hasNaN(values: Float32Array): boolean {
  for (const value of values) if (Number.isNaN(value)) return true;
  return false;
}
