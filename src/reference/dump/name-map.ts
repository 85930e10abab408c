/** A user's table of names. */
import { readJson } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { isCanonical, nearestCanonical } from './canonical.js';

/** Their name -> ours; null: the table does not say. */
export type NameMap = (theirs: string) => string | null;

/**
 * Reads `{"their name": "our name"}`. `{i}` stands for a layer's number, the same on both sides: `{"blk{i}/q": "layers.{i}.attention.q"}`.
 * @throws CheckpointError naming the file and the entry: no name of a trace (with the nearest one), or `{i}` on one side alone
 */
export function readNameMap(file: string): NameMap {
  const raw = readJson(file);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new CheckpointError(`${file}: expected {"their name": "our name", ...}.`);
  }
  const entries = Object.entries(raw).map(([theirs, ours]) => entryOf(theirs, ours, file));
  return (name) => {
    for (const { pattern, ours } of entries) {
      const found = pattern.exec(name);
      if (found) return ours.replace('{i}', found[1] === undefined ? '{i}' : String(Number(found[1])));
    }
    return null;
  };
}

function entryOf(theirs: string, ours: unknown, file: string): { pattern: RegExp; ours: string } {
  if (typeof ours !== 'string' || !isCanonical(ours)) {
    const nearest = nearestCanonical(typeof ours === 'string' ? ours : '');
    throw new CheckpointError(
      `${file}: ${JSON.stringify(theirs)} is mapped to ${JSON.stringify(ours)}, which is no name of a trace; did you mean ${nearest}?`,
    );
  }
  const counts = [theirs, ours].map((name) => name.split('{i}').length - 1);
  if (counts[0] !== counts[1]) {
    throw new CheckpointError(
      `${file}: ${JSON.stringify(theirs)} -> ${JSON.stringify(ours)} has {i}, a layer's number, on one side alone, or more than once.`,
    );
  }
  const parts = theirs.split('{i}').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return { pattern: new RegExp(`^${parts.join('(\\d+)')}$`), ours };
}
