/** Keys under the names that a family's files give them. */
import { CheckpointError } from '../../errors.js';
import { anything } from './common.js';

/** Our name of a key -> the family's own (`attribute_map` of transformers). A file may have either. */
export type Spelling = Readonly<Record<string, string>>;

/** What a file has under a family's own name, in the order of our names: [ours, the file's][]. @throws CheckpointError if both are there and differ */
function respelled(raw: unknown, spelling: Spelling, file: string): [string, string][] {
  if (typeof raw !== 'object' || raw === null) return [];
  const given = raw as Record<string, unknown>;
  const found = Object.entries(spelling).filter(([, own]) => own in given);
  for (const [key, own] of found) {
    if (!(key in given) || given[key] === given[own]) continue;
    throw new CheckpointError(
      `${file}: ${own} = ${JSON.stringify(given[own])} contradicts ${key} = ${JSON.stringify(given[key])}, which is the same key.`,
    );
  }
  return found;
}

/**
 * Lets a file be read with its own names, which messages then speak of.
 * @returns the shape of the file's keys, and what gives its valid keys our names
 */
export function spelledAs<Shape extends object>(
  shape: Shape,
  raw: unknown,
  spelling: Spelling,
  file: string,
): { shape: Shape; renamed: (keys: object) => object } {
  const found = respelled(raw, spelling, file);
  const schemas = shape as Record<string, unknown>;
  return {
    shape: {
      ...shape,
      ...Object.fromEntries(
        found.flatMap(([key, own]) => [
          [own, schemas[key]],
          [key, anything],
        ]),
      ),
    },
    renamed(keys) {
      const values = keys as Record<string, unknown>;
      return { ...keys, ...Object.fromEntries(found.map(([key, own]) => [key, values[own]])) };
    },
  };
}
