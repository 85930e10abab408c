/** What caches hold at the end of a run, as the kernel reads it: blocks of rows, and the block table of a paged one. */
import type { KvCache } from '../../../attention/cache/cache.js';
import { PagedCache } from '../../../attention/cache/paged.js';
import { ResidualCache } from '../../../attention/cache/residual.js';
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import { traceNameOf } from '../../../attention/layer.js';
import type { Model } from '../../model/load.js';
import { type Floats, flat } from '../../tensor/tensor.js';
import { dtypeOf } from './plan.js';
import type { TraceSink } from './sink.js';

export class CacheRecorder {
  private readonly model: Model;
  private readonly cache: KvCache;
  private readonly last: number;
  private readonly sink: TraceSink;

  /** @param last the position of the run's last token: what is read for it is what is recorded */
  constructor(model: Model, cache: KvCache, last: number, sink: TraceSink) {
    this.model = model;
    this.cache = cache;
    this.last = last;
    this.sink = sink;
  }

  /** Writes `cache.positions` [S], `cache.block_rows` [blocks] and each stream [S, heads, dim] of a layer, in the pass that reads them last. */
  see(layer: number, { positions: queries, blocks }: AttentionCall): void {
    if (queries.at(-1) !== this.last) return;
    const name = `layers.${layer}.cache`;
    const lengths = blocks.map(({ positions }) => positions.length);
    const positions = joined(blocks.map((block) => block.positions));
    this.sink.append({ name: `${name}.positions`, dtype: 'I32', shape: [positions.length] }, positions);
    this.sink.append({ name: `${name}.block_rows`, dtype: 'I32', shape: [lengths.length] }, lengths);
    for (const { name: stream, heads, dim } of this.model.components.layers[layer]!.strategy.streams) {
      const parts = blocks.map((block) => flat(block.read(stream)));
      const tensor = { dtype: dtypeOf(parts[0]!), shape: [positions.length, heads, dim] };
      this.sink.append({ name: `${name}.${traceNameOf(stream)}`, ...tensor }, joined(parts));
    }
  }

  /** Writes `block_table` [pages], the numbers of a paged cache's pages in order. */
  appendTable(): void {
    const paged = this.cache instanceof ResidualCache ? this.cache.older : this.cache;
    if (!(paged instanceof PagedCache)) return;
    const pages = paged.pages.map(({ id }) => id);
    this.sink.append({ name: 'block_table', dtype: 'I32', shape: [pages.length] }, pages);
  }
}

function joined(parts: readonly (Floats | Int32Array)[]): Float64Array {
  const whole = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
