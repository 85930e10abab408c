/**
 * Attention on a device whose memory is the host's: two kernels a page of keys, and between them the softmax, which goes on from page to page
 * (Milakov & Gimelshein 2018, algorithm 3).
 */
import type { AttentionCall } from '../kernel.js';
import { type ArenaStream, headScale } from './arena.js';
import { sumsSource } from './fold-sources.js';
import type { Folded } from './folded.js';
import type { HostArray, HostDevice, HostView } from './host-device.js';
import type { KeyGroup } from './keys.js';
import type { Packing } from './queries.js';
import { scoresSource } from './scores-source.js';
import { CHUNK, HIDDEN, HIDDEN_BELOW } from './source.js';

/** Keys of a page: a kernel is compiled for each size, and what a page has too few of is computed in vain. */
const PAGES = [CHUNK, 4 * CHUNK];

/** A page of a group's keys: `count` of them from key `first` of the list on, in rows of the arrays that begin at slot `base`. */
interface Page {
  readonly first: number;
  readonly count: number;
  /** Keys that kernels compute. */
  readonly size: number;
  readonly base: number;
  /** Its first key's row after `base`. */
  readonly offset: number;
  /** Rows that its views have. */
  readonly rows: number;
}

export function foldOnHost(
  device: HostDevice,
  call: AttentionCall,
  packing: Packing,
  q: HostView,
  group: KeyGroup<HostArray>,
  folded: Folded,
): void {
  for (let first = 0; first < group.list.count; ) {
    const page = pageAt(group, first);
    const scores = scoresOf(device, call, packing, q, group, page);
    if (weighInPlace(scores, packing, page, folded)) addSums(device, packing, group, page, scores, folded);
    first += page.count;
  }
}

/** Rows that share scales are seen from the beginning of their run. */
function pageAt({ list, alignment }: KeyGroup<HostArray>, first: number): Page {
  const { slot, count } = list.runFrom(first, PAGES.at(-1)!);
  const size = PAGES.find((keys) => keys >= count)!;
  const offset = slot % alignment;
  return { first, count, size, base: slot - offset, offset, rows: size + (alignment > 1 ? alignment : 0) };
}

/** Scores [packs of all heads, keys, lanes]. */
function scoresOf(
  device: HostDevice,
  call: AttentionCall,
  packing: Packing,
  q: HostView,
  { list, parts }: KeyGroup<HostArray>,
  page: Page,
): Float32Array {
  const { lanes, groups, packs } = packing;
  const source = scoresSource(parts.map(({ schema }) => schema), lanes, call); // biome-ignore format: one thought
  const positions = list.positions.view(page.first, [page.size]);
  const views = [q, slotsOf(page), positions, ...parts.flatMap((part) => viewsOf(part, page))];
  return device.run(source, [8, page.size / 8, groups * packs], views, [page.count, packs, call.visibility.sinks]);
}

/** 0, 1, 2, ... */
const PLACES = Float32Array.from({ length: 2 ** 12 }, (_, i) => i);

/** In a page a row's slot is its place. */
function slotsOf({ size, offset }: Page): HostView {
  const near = offset + size <= PLACES.length;
  const data = near
    ? PLACES.subarray(offset, offset + size)
    : Float32Array.from({ length: size }, (_, i) => offset + i);
  return { data, dims: [size] };
}

function viewsOf({ values, width, scales, scaleWidth, run }: ArenaStream<HostArray>, { base, rows }: Page): HostView[] {
  const view = values.view(base * width, [width, rows]);
  if (!scales) return [view];
  return [view, scales.view((base / run) * scaleWidth, [scaleWidth, Math.ceil(rows / run)])];
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
    weighRow(scores, from, lanes, count, row, folded);
  }
  return seen;
}

function weighRow(
  scores: Float32Array,
  from: number,
  lanes: number,
  count: number,
  row: number,
  { greatest, total }: Folded,
): void {
  const most = greatest[row]!;
  let sum = 0;
  for (let at = from; at < from + count * lanes; at += lanes) {
    scores[at] = scores[at]! < HIDDEN_BELOW ? 0 : Math.exp(scores[at]! - most);
    sum += scores[at]!;
  }
  total[row] = total[row]! + sum;
}

function addSums(
  device: HostDevice,
  { groups, packs, lanes }: Packing,
  { values }: KeyGroup<HostArray>,
  page: Page,
  weights: Float32Array,
  folded: Folded,
): void {
  const { valueDim } = folded;
  const source = sumsSource(values.schema, lanes, page.size, false);
  const packed: HostView = { data: weights, dims: [lanes, page.size, groups * packs] };
  const views = [packed, slotsOf(page), ...viewsOf(values, page)];
  const sums = device.run(source, [valueDim, 1, groups * packs], views, [page.count, packs]);
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
