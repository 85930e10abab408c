/** The other precision of a model: what its rounding is measured against. */
import { dirname } from 'node:path';
import { UsageError } from '../../errors.js';
import { loadModel, type Model } from '../../model/load.js';
import type { Precision } from '../../tensor/tensor.js';

/**
 * The same checkpoint, run in the same way in another precision: weights are read anew, since some were rounded to the precision they were read for.
 * @throws UsageError for a model that was not read from a folder, or runs in a way that the precision does not have
 */
export function counterpart(
  { files, config, options }: Model,
  precision: Precision,
  ignoreConfigKeys: readonly string[] = [],
): Model {
  if (precision === options.precision) throw new Error(`it is in ${precision} already`);
  if (files.length === 0) {
    throw new UsageError(`This model was made by hand, so its noise is not known; give the same one in ${precision}.`);
  }
  const kernel = options.kernel === 'gpu' ? 'reference' : options.kernel;
  const ropeLength = config.ropeLength ?? undefined;
  return loadModel(dirname(files[0]!), {
    ...options,
    kernel,
    device: 'auto',
    precision,
    ropeLength,
    ignoreConfigKeys,
  });
}
