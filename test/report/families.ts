/** `npm run report:families`: which features each family's goldens have, in the order of the data's way through a model. */
import { loadModel } from '../../src/model/load.js';
import { FEATURE_GROUPS, FEATURES } from '../../src/reference/features/index.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, goldenOptions } from '../support/fixtures.js';

const configs = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS].map(
  (name) => loadModel(fixture(name), goldenOptions(name)).config,
);
const families = [...new Set(configs.map(({ family }) => family))].sort();
const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);

row(['family', ...FEATURE_GROUPS]);
row(Array(1 + FEATURE_GROUPS.length).fill('---'));
for (const family of families) {
  const own = configs.filter((config) => config.family === family);
  const cells = FEATURE_GROUPS.map((group) =>
    FEATURES.filter((feature) => feature.group === group && own.some(feature.has)).map(({ name }) => name),
  );
  row([`\`${family}\``, ...cells.map((names) => names.join(', '))]);
}
