/** What the clocks around the caches count, and that they change nothing. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { loadModel } from '../../src/model/load.js';
import { bookkeepingOf, timedRequests } from '../../src/reference/bookkeeping.js';
import { PhaseClock, timed } from '../../src/reference/phase-clock.js';
import { fixture } from '../support/fixtures.js';

describe('PhaseClock', () => {
  let now = 0;
  const work = (ms: number) => {
    now += ms;
  };
  const clockAt = () => {
    now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    return new PhaseClock<'rest' | 'outer' | 'inner'>('rest');
  };
  afterEach(() => vi.restoreAllMocks());

  it('gives the time of phases within each other to the inner one', () => {
    const clock = clockAt();
    work(1);
    clock.during('outer', () => {
      work(10);
      clock.during('inner', () => work(100));
      work(1000);
    });
    work(10_000);
    expect([...clock.read()]).toEqual([
      ['rest', 10_001],
      ['outer', 1010],
      ['inner', 100],
    ]);
  });

  it('goes back to the outer phase when something is thrown', () => {
    const clock = clockAt();
    const fail = () => {
      work(5);
      throw new Error('no');
    };
    expect(() => clock.during('inner', fail)).toThrow('no');
    work(7);
    expect(clock.read().get('inner')).toBe(5);
    expect(clock.read().get('rest')).toBe(7);
  });

  it('times members of an object that is not changed: methods, and values that are computed', () => {
    class Counter {
      count = 0;
      add(by: number): number {
        work(by);
        this.count += by;
        return this.count;
      }
      get twice(): number {
        work(1);
        return 2 * this.count;
      }
      addTwice(by: number): number {
        this.add(by);
        return this.add(by);
      }
    }
    const clock = clockAt();
    const plain = new Counter();
    const counter = timed(plain, { add: 'inner', twice: 'outer' }, clock);
    expect([counter.add(3), counter.add(4), counter.twice, counter.count]).toEqual([3, 7, 14, 7]);
    expect(counter).toBeInstanceOf(Counter);
    expect(clock.read().get('inner')).toBe(7);
    expect(clock.read().get('outer')).toBe(1);
    expect(counter.addTwice(100)).toBe(207); // calls within the object are its own affair
    expect(clock.read().get('inner')).toBe(207);
    expect(plain.count).toBe(207);
  });
});

describe('bookkeepingOf', () => {
  const model = loadModel(fixture('tiny-llama-rope3-f16'));
  const requests = timedRequests(model, 0);

  it('divides the time of a step', async () => {
    const found = await bookkeepingOf(model, requests, { pageSize: 4, index: 'hash' });
    const { step, tables, matching, eviction, outside, evictions } = found;
    for (const part of [tables, matching, eviction, outside]) expect(part).toBeGreaterThan(0);
    expect(tables + matching + eviction).toBeLessThan(step);
    expect(evictions).toBeGreaterThan(0);
  });

  it('finds nothing to match or evict without an index', async () => {
    const found = await bookkeepingOf(model, requests, { pageSize: 4, index: 'none' });
    expect(found).toMatchObject({ eviction: 0, evictions: 0 });
    expect(found.matching).toBe(0);
    expect(found.tables).toBeGreaterThan(0);
  });

  it("times every call that a step makes of its tables: room, beginning, each layer's blocks, and the end", async () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now++); // each call takes one
    try {
      const { tables, running } = await bookkeepingOf(model, requests, { pageSize: 256, index: 'none' });
      expect(tables).toBeCloseTo(running * (1 + 1 + model.config.layers.length + 1), 9);
    } finally {
      vi.restoreAllMocks();
    }
  });

  it('counts the same steps for both indices', async () => {
    const counted = async (index: 'hash' | 'radix') => {
      const { steps, running, held, evictions } = await bookkeepingOf(model, requests, { pageSize: 8, index });
      return { steps, running, held, evictions };
    };
    expect(await counted('hash')).toEqual(await counted('radix'));
  });
});
