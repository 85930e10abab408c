/** Traces of a kit's checkpoints that were run otherwise than plainly: other caches, another form. */
import type { LoadOptions, Model } from '../../model/load.js';
import { forward } from '../../model/transformer.js';

export interface KitVariant {
  /** Of the file, after the checkpoint's. */
  readonly name: string;
  readonly checkpoint: string;
  /** For the table in the kit's README. */
  readonly tests: string;
  readonly options: LoadOptions;
  /** Done to the model before it is traced. */
  readonly prepare?: (model: Model) => Promise<void>;
}

export const KIT_VARIANTS: readonly KitVariant[] = [
  {
    name: 'paged',
    checkpoint: 'gqa',
    tests: 'the same numbers out of a paged cache: pages of 4 tokens that do not stand in order (`block_table`)',
    options: { cache: 'paged', pageSize: 4 },
    prepare: scatterPages,
  },
  {
    name: 'ring',
    checkpoint: 'window',
    tests: 'the same numbers out of a ring, which holds the window alone (`cache.positions`)',
    options: { cache: 'ring' },
  },
  {
    name: 'absorbed',
    checkpoint: 'mla',
    tests:
      'queries taken into the latent space, where all heads share one key (latent, rope key) and one value (latent), which alone are cached',
    options: { attention: 'mla' },
  },
];

/** Has three sequences take pages by turns and two of them give theirs back, so that the pages that are taken next are scattered, as in a server. */
async function scatterPages(model: Model): Promise<void> {
  const caches = Array.from({ length: 3 }, () => model.components.newCache());
  for (let turn = 0; turn < 2; turn++) {
    for (const cache of caches) await forward(model, [{ ids: [0, 1, 2, 3], cache }]);
  }
  caches[0]!.release();
  caches[2]!.release();
}
