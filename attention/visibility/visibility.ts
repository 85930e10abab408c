import type { Retention } from '../streams.js';

/**
 * May the query at one absolute position see the key at another? A rule knows positions alone: nothing of heads, of storage,
 * or of how many tokens are computed together.
 *
 * Every rule has one form: a query sees the sinks, and what lies from `oldest(query)` to itself. `sees` is the rule as its paper
 * says it; `sinks`, `oldest` and `span` say what a cache may forget. The tests hold the two against each other.
 */
export interface Visibility extends Retention {
  /** With its sizes: `sliding 128`. */
  readonly name: string;
  sees(query: number, key: number): boolean;
}
