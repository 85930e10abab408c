/**
 * `npm run report:mutants`: what mistakes of ports tell of the goldens and of the diagnosis. Of every mutant and every family that can have it: whether a golden of the
 * family catches it, and whether a diagnosis names it when it is shown what it computes: all tensors or logits alone, in float32 or rounded to bfloat16.
 *
 * With `pairs`: 50 random pairs of mistakes on the trained checkpoints. With `dumps FOLDER`: dumps that cli/dumpers/hf_dump.py made of fixtures, none of which has a mistake.
 */
import { dumpsReport, pairsReport } from '../support/diagnosed.js';
import { mutantsReport } from '../support/mutant-rates.js';

const [mode, folder] = process.argv.slice(2);
if (mode === 'pairs') await pairsReport(50);
else if (mode === 'dumps') await dumpsReport(folder!);
else await mutantsReport();
