/** The rows that some queries of a call may see, as kernels find them on the device. */
import { flat } from '../../../src/tensor/tensor.js';
import type { StoredStream } from '../../stored.js';
import type { CacheBlock } from '../../streams.js';
import type { AttentionCall } from '../kernel.js';
import type { Arena, ArenaStream } from './arena.js';
import type { Device, DeviceArray } from './device.js';
import { KeyList } from './key-list.js';
import { Residence } from './mirror.js';
import { Recent } from './recent.js';
import { CHUNK } from './source.js';

/** Rows that lie in one arena: their streams by what a call makes of them, and which slots. */
export interface KeyGroup<Held extends DeviceArray> {
  /** Those that the queries at hand may see: `reach` fills it. */
  readonly list: KeyList<Held>;
  /** Positions of the rows from each of these slots on. */
  readonly blocks: readonly { readonly slot: number; readonly positions: Int32Array }[];
  readonly parts: readonly ArenaStream<Held>[];
  readonly values: ArenaStream<Held>;
  readonly alignment: number;
}

/** Positions that some queries may see: the sinks, and [oldest, newest]. */
export interface Reach {
  readonly sinks: number;
  readonly oldest: number;
  readonly newest: number;
}

/** Lists the rows of a group that queries may see, and some that a window hides. */
export function reach<Held extends DeviceArray>(
  { list, blocks }: KeyGroup<Held>,
  { sinks, oldest, newest }: Reach,
): void {
  const from = oldest - (oldest % CHUNK); // so that the list of a window does not change with each step
  list.begin(blocks.reduce((sum, { positions }) => sum + positions.length, 0));
  for (const { slot, positions } of blocks) {
    for (let row = 0; row < positions.length; row++) {
      const position = positions[row]!;
      if (position <= newest && (position < sinks || position >= from)) list.add(slot + row, position);
    }
  }
  list.end();
}

/** Lists that are kept for calls to come. */
const MOST_LISTS = 512;

export class Keys<Held extends DeviceArray> {
  private readonly device: Device<Held>;
  private readonly residence: Residence<Held>;
  private readonly lists = new Recent<KeyList<Held>>(MOST_LISTS, (list) => list.free());
  private readonly made: MadeRows<Held>;
  private readonly arenaIds = new WeakMap<object, number>();
  private arenas = 0;

  constructor(device: Device<Held>) {
    this.device = device;
    this.residence = new Residence(device);
    this.made = new MadeRows(device);
  }

  /**
   * Brings what has changed of a call's rows to the device.
   * @param index of the call among those of its pass: the list of the same one of the last pass is likely much the same
   */
  groupsOf(call: AttentionCall, index: number): KeyGroup<Held>[] {
    const byArena = new Map<Arena<Held> | null, CacheBlock[]>();
    for (const block of call.blocks) {
      const arena = block.stored ? this.residence.arenaOf(block.stored.store.kind) : null;
      const others = byArena.get(arena);
      if (others) others.push(block);
      else byArena.set(arena, [block]);
    }
    return [...byArena].map(([arena, blocks]) => {
      const list = this.listFor(`${arena ? this.idOf(arena) : 'made'} ${index}`);
      const { streams, alignment } = arena ?? { streams: this.made.hold(call, blocks), alignment: 1 };
      const named = (name: string) => streams.find(({ schema }) => schema.name === name)!;
      const parts = call.keyStreams.map(named);
      return { list, blocks: this.placed(blocks), parts, values: named(call.valueStream), alignment };
    });
  }

  /** Where the rows of each block lie. */
  private placed(blocks: readonly CacheBlock[]): { slot: number; positions: Int32Array }[] {
    let made = 0;
    return blocks.map(({ stored, positions }) => {
      const slot = stored ? this.residence.hold(stored.store, stored.from, positions.length) : made;
      made += positions.length;
      return { slot, positions };
    });
  }

  private listFor(key: string): KeyList<Held> {
    const known = this.lists.get(key);
    if (known) return known;
    const list = new KeyList(this.device);
    this.lists.set(key, list);
    return list;
  }

  /** Lets go of all memory on the device. */
  close(): void {
    this.residence.close();
  }

  private idOf(arena: Arena<Held>): number {
    const id = this.arenaIds.get(arena) ?? this.arenas++;
    this.arenaIds.set(arena, id);
    return id;
  }
}

/** Rows that were made for one call, one block after the other. They are uploaded each time. */
class MadeRows<Held extends DeviceArray> {
  private readonly device: Device<Held>;
  private readonly arrays = new Map<number, Held>();

  constructor(device: Device<Held>) {
    this.device = device;
  }

  hold({ keyStreams, valueStream }: AttentionCall, blocks: readonly CacheBlock[]): ArenaStream<Held>[] {
    return [...new Set([...keyStreams, valueStream])].map((name, i) => {
      const rows = blocks.map((block) => block.read(name));
      const [, heads, dim] = rows[0]!.shape as [number, number, number];
      const schema: StoredStream = { name, heads, dim, form: { kind: 'numbers' } };
      const width = heads * dim;
      const values = this.arrayFor(i, width * rows.reduce((sum, { shape }) => sum + shape[0]!, 0));
      let at = 0;
      for (const data of rows.map(flat)) {
        values.write(at, data instanceof Float32Array ? data : Float32Array.from(data));
        at += data.length;
      }
      return { schema, values, width, scales: null, scaleWidth: 0, run: 1 };
    });
  }

  private arrayFor(i: number, length: number): Held {
    const array = this.arrays.get(i) ?? this.device.newArray();
    this.arrays.set(i, array);
    if (length > array.length) array.resize(2 ** Math.ceil(Math.log2(length)), 0);
    return array;
  }
}
