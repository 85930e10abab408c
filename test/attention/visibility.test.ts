import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shiftOf, slotsOf } from '../../attention/slots.js';
import { consecutive } from '../../attention/streams.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import { windowOfPast } from '../../attention/visibility/sliding.js';

const size = fc.integer({ min: 1, max: 40 });
const rules: fc.Arbitrary<VisibilityConfig> = fc.oneof(
  fc.constant({ kind: 'causal' } as const),
  size.map((window) => ({ kind: 'sliding', window }) as const),
  size.map((chunk) => ({ kind: 'chunked', chunk }) as const),
  fc.tuple(size, size).map(([sinks, window]) => ({ kind: 'sinks', sinks, window }) as const),
);
const position = fc.nat(150);

describe('a visibility rule', () => {
  test.prop([rules, position, position])('sees the sinks, and what lies from the oldest on', (config, query, key) => {
    const rule = visibilityOf(config);
    expect(rule.sees(query, key)).toBe(key <= query && (key < rule.sinks || key >= rule.oldest(query)));
  });

  test.prop([rules, position])(
    'never sees more than it says, and never again what it no longer saw',
    (config, query) => {
      const rule = visibilityOf(config);
      const seen = [...consecutive(0, query + 1)].filter((key) => rule.sees(query, key));
      expect(seen.filter((key) => key >= rule.sinks).length).toBeLessThanOrEqual(rule.span);
      expect(seen).toContain(query);
      expect(rule.oldest(query + 1)).toBeGreaterThanOrEqual(rule.oldest(query));
    },
  );

  it('counts the current token in its window', () => {
    const { sees } = visibilityOf({ kind: 'sliding', window: 3 });
    expect([6, 7, 8, 9, 10, 11].map((key) => sees(10, key))).toEqual([false, false, true, true, true, false]);
    expect(windowOfPast(2)).toBe(3);
  });

  it('keeps chunks apart', () => {
    const { sees } = visibilityOf({ kind: 'chunked', chunk: 4 });
    expect([3, 4, 5, 6].map((key) => sees(5, key))).toEqual([false, true, true, false]);
  });

  it.each([
    [{ kind: 'sliding', window: 0 }, 'Visibility sliding, window: expected a whole number of at least 1, got 0'],
    [{ kind: 'sinks', sinks: 1.5, window: 2 }, 'sinks: expected a whole number of at least 1, got 1.5'],
    [{ kind: 'chunked' } as never, 'chunk: expected a whole number of at least 1, got undefined'],
    ['sliding' as never, 'Visibility "sliding": expected { kind, ... } with a kind of causal, sliding, chunked, sinks'],
  ] as const)('%j is refused', (config, message) => {
    expect(() => visibilityOf(config)).toThrow(message);
  });
});

describe('slots', () => {
  test.prop([rules, position])('of the keys that a query sees are 0, 1, 2, ... in order', (config, query) => {
    const rule = visibilityOf(config);
    const seen = consecutive(0, query + 1).filter((key) => rule.sees(query, key));
    expect([...slotsOf(seen, rule.sinks, shiftOf(rule, query))]).toEqual([...seen.keys()]);
  });
});
