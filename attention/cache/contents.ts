/** What caches share that let their contents be saved and restored. */
import { RequestError } from '../../src/errors.js';
import type { CacheContents, LayerContents } from './cache.js';

/** @throws RequestError if a cache without a residual is given one */
export function expectNoResidual({ residual }: CacheContents): void {
  if (residual === null) return;
  throw new RequestError('The saved cache has a residual, and this one keeps none; choose the same kvDtype.');
}

/** @throws RequestError, if a cache that keeps every token is given the rows of some. */
export function expectAllRows({ positions }: LayerContents, next: number): void {
  if (positions.length === next) return;
  throw new RequestError(
    `This cache keeps every token, and of the ${next} saved ones only ${positions.length} have rows in some layer; ` +
      'choose the cache that saved them.',
  );
}
