/** What caches share that let their contents be saved and restored. */
import { RequestError } from '../../src/errors.js';
import type { LayerContents } from './cache.js';

/** @throws RequestError, if a cache that keeps every token is given the rows of some. */
export function expectAllRows({ positions }: LayerContents, next: number): void {
  if (positions.length === next) return;
  throw new RequestError(
    `This cache keeps every token, and of the ${next} saved ones only ${positions.length} have rows in some layer; ` +
      'choose the cache that saved them.',
  );
}
