/**
 * `npm run report:compare`: what transformers computed of four checkpoints (`fixtures/dumps`), held against ours: how far each lies beyond the noise. Then
 * README's worked example.
 */

import { comparisonText } from '../../cli/compare-text.js';
import { loadModel } from '../../src/model/load.js';
import type { TensorComparison } from '../../src/reference/compare/comparison.js';
import { compare } from '../../src/reference/compare/index.js';
import { DUMPS } from '../support/comparing.js';
import { fixture } from '../support/fixtures.js';

console.log(
  '| dump of transformers | verdict | tensors | identical | furthest from ours | its difference / noise | made from their own inputs | tokens equal |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
for (const [name, checkpoint] of DUMPS) {
  const found = await compare(fixture(`dumps/${name}.safetensors`), loadModel(fixture(checkpoint)), { bisect: true });
  const { tensors, tokens, bisection } = found;
  const identical = tensors.filter(({ verdict }) => verdict === 'identical').length;
  const [furthest, local] = [furthestOf(tensors), furthestOf(bisection!.tensors)];
  const ratio = (tensor: TensorComparison) => tensor.measures!.ratio.toFixed(1);
  console.log(
    `| ${name} | ${found.verdict} | ${tensors.length} | ${identical} | ${furthest.name} | ${ratio(furthest)} | ${ratio(local)} | ${tokens!.equal} of ${tokens!.compared} |`,
  );
}

function furthestOf(tensors: readonly TensorComparison[]): TensorComparison {
  return tensors.reduce((a, b) => (b.measures!.ratio > a.measures!.ratio ? b : a));
}

const model = 'fixtures/tiny-llama-rope3-f16';
const dump = 'fixtures/dumps/wrong-port.safetensors';
console.log(`\n$ touchstone compare ${dump} --model ${model} --bisect`);
const found = await compare(dump, loadModel(model), { bisect: true });
process.stdout.write(comparisonText(found, { columns: 120, color: false }));
