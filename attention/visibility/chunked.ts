import type { Visibility } from './visibility.js';

/** Positions are cut into chunks, and a token sees its own chunk up to itself (Llama 4's `attention_chunk_size`). */
export function chunked(chunk: number): Visibility {
  const startOf = (position: number) => position - (position % chunk);
  return {
    name: `chunked ${chunk}`,
    sees: (query, key) => key <= query && startOf(key) === startOf(query),
    sinks: 0,
    oldest: startOf,
    span: chunk,
  };
}
