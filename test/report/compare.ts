/**
 * `npm run report:compare`: what transformers computed of four checkpoints (`fixtures/dumps`), held against ours: how far each lies beyond the noise. Then
 * README's worked example. With a folder of dumps that cli/dumpers/hf_dump.py made of fixtures, by their names: the same of those, and the furthest.
 */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { comparisonText } from '../../cli/compare-text.js';
import { loadModel } from '../../src/model/load.js';
import type { TensorComparison } from '../../src/reference/compare/comparison.js';
import { compare } from '../../src/reference/compare/index.js';
import { DUMPS } from '../support/comparing.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture } from '../support/fixtures.js';

const [folder] = process.argv.slice(2);
const dumps = folder
  ? dumpsIn(folder)
  : DUMPS.map(([name, own]) => [fixture(`dumps/${name}.safetensors`), own] as const);

console.log(
  '| dump of transformers | dtype | verdict | tensors | identical | furthest from ours | its difference / noise | made from their own inputs | tokens equal |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
let most = 0;
for (const [path, checkpoint] of dumps) {
  const found = await compare(path, loadModel(fixture(checkpoint)), { bisect: true });
  const { tensors, tokens, bisection } = found;
  const identical = tensors.filter(({ verdict }) => verdict === 'identical').length;
  const [furthest, local] = [furthestOf(tensors), furthestOf(bisection!.tensors)];
  most = Math.max(most, ratioOf(furthest));
  const ratios = [furthest, local].map((tensor) => ratioOf(tensor).toFixed(1)).join(' | ');
  const equal = tokens ? `${tokens.equal} of ${tokens.compared}` : '';
  console.log(
    `| ${basename(path, '.safetensors')} | ${found.dtype} | ${found.verdict} | ${tensors.length} | ${identical} | ${furthest.name} | ${ratios} | ${equal} |`,
  );
}
if (folder) console.log(`\n${dumps.length} dumps, at most ${most.toFixed(1)} times the noise`);
else await workedExample();

function dumpsIn(given: string): (readonly [path: string, checkpoint: string])[] {
  const all = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS];
  return readdirSync(given).flatMap((file) => {
    const checkpoint = all.find((own) => basename(own) === basename(file, '.safetensors'));
    return checkpoint ? [[join(given, file), checkpoint] as const] : [];
  });
}

function ratioOf({ measures }: TensorComparison): number {
  return measures?.ratio ?? Number.POSITIVE_INFINITY;
}

function furthestOf(tensors: readonly TensorComparison[]): TensorComparison {
  return tensors.reduce((a, b) => (ratioOf(b) > ratioOf(a) ? b : a));
}

async function workedExample(): Promise<void> {
  const model = 'fixtures/tiny-llama-rope3-f16';
  const dump = 'fixtures/dumps/wrong-port.safetensors';
  console.log(`\n$ touchstone compare ${dump} --model ${model} --bisect`);
  const found = await compare(dump, loadModel(model), { bisect: true });
  process.stdout.write(comparisonText(found, { columns: 120, color: false }));
}
