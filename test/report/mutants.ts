/**
 * `npm run report:mutants`: the diagnosis of the wrong port of `npm run report:compare`, and what mistakes of ports tell of the goldens and of the diagnosis. Of every mutant and every family that can have it: whether a golden of the
 * family catches it, and whether a diagnosis names it when it is shown what it computes: all tensors or logits alone, in float32 or rounded to bfloat16. Each is shown in
 * eight families at most; with `all`, in all that can have it.
 *
 * With `pairs`: 50 random pairs of mistakes on the trained checkpoints. With `dumps FOLDER`: dumps that cli/dumpers/hf_dump.py made of fixtures, none of which has a mistake.
 */
import { diagnosisText } from '../../cli/diagnose-text.js';
import { loadModel } from '../../src/model/load.js';
import { diagnose } from '../../src/reference/diagnose/index.js';
import { dumpsReport, pairsReport } from '../support/diagnosed.js';
import { mutantsReport } from '../support/mutant-rates.js';

const [mode, folder] = process.argv.slice(2);
if (mode === 'pairs') await pairsReport(50);
else if (mode === 'dumps') await dumpsReport(folder!);
else if (mode === 'all') await mutantsReport(Number.POSITIVE_INFINITY);
else {
  await workedExample();
  await mutantsReport(8);
}

async function workedExample(): Promise<void> {
  const model = 'fixtures/tiny-llama-rope3-f16';
  const dump = 'fixtures/dumps/wrong-port.safetensors';
  console.log(`$ touchstone diagnose ${dump} --model ${model}`);
  process.stdout.write(`${diagnosisText(await diagnose(dump, loadModel(model)), 120)}\n`);
}
