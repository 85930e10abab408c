/** Diagnoses that take longer than CI may: of random pairs of mistakes, and of dumps that others made. */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadModel } from '../../src/model/load.js';
import { type Hypothesis, hypothesesFor, together } from '../../src/reference/diagnose/hypothesis.js';
import { diagnose } from '../../src/reference/diagnose/index.js';
import { conclusionText } from '../../src/reference/diagnose/words.js';
import { mutantNamed, sameAs } from '../../src/reference/mutants/index.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, GOLDENS, readGolden } from './fixtures.js';
import { computedBy, dumpedAs, FORMS, type MutantSetting, settingOf } from './mutant-cases.js';

const TOKENS = 64;
const AFTER = 8;

/** Random pairs of mistakes on the trained checkpoints, 64 tokens each, all tensors in float32. @param count of pairs */
export async function pairsReport(count: number): Promise<void> {
  const trained = CHECKPOINTS.filter((name) => name.startsWith('austen-'));
  const draw = drawing(20);
  const settings = new Map<string, MutantSetting>();
  const named = [0, 0, 0];
  let longest = 0;
  while (named.reduce((sum, own) => sum + own, 0) < count) {
    const checkpoint = trained[draw(trained.length)]!;
    const setting = settings.get(checkpoint) ?? (await trainedSetting(checkpoint));
    settings.set(checkpoint, setting);
    const all = hypothesesFor(setting.model);
    const [a, b] = [all[draw(all.length)]!, all[draw(all.length)]!];
    const pair = together(a, b);
    const computed = pair && (await computedBy(setting, pair.mutation));
    if (!computed) continue;
    const began = performance.now();
    const { conclusion } = await diagnose(dumpedAs(setting, computed, FORMS[0]!), setting.model, { noiseOf: setting.wide }); // biome-ignore format: one thought
    longest = Math.max(longest, (performance.now() - began) / 1000);
    const faults = conclusion.kind === 'explained' ? conclusion.explanations[0].faults : [];
    const found = [a, b].filter((own) => faults.some(({ name }) => isNamed(own, name))).length;
    named[found]!++;
    const told = faults.map(({ name }) => name).join(' + ') || conclusion.kind;
    if (found < 2) console.log(`${checkpoint}: ${pair.key}: ${told}`);
  }
  console.log(`both named in ${named[2]} of ${count} pairs, one in ${named[1]}; the longest diagnosis took ${longest.toFixed(0)} s`); // biome-ignore format: one thought
}

async function trainedSetting(checkpoint: string): Promise<MutantSetting> {
  const { inputIds, generatedIds } = readGolden(GOLDENS.find((golden) => golden.checkpoint === checkpoint)!.name);
  const ids = [...inputIds, ...generatedIds].slice(0, TOKENS);
  return settingOf(checkpoint, ids, Math.min(inputIds.length, TOKENS - AFTER));
}

function isNamed({ faults }: Hypothesis, name: string): boolean {
  const [own, found] = [faults[0]!.mutant, mutantNamed(name)];
  return own === found || sameAs(own, found) !== null;
}

/** Whole numbers below a bound, the same ones in each run (a linear congruential generator: Knuth 1997, section 3.2.1). */
function drawing(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

/** Dumps without a mistake, by the names of the fixtures that they were made of. */
export async function dumpsReport(folder: string): Promise<void> {
  const checkpoints = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS];
  let [within, all] = [0, 0];
  for (const file of readdirSync(folder)) {
    const checkpoint = checkpoints.find((own) => basename(own) === basename(file, '.safetensors'));
    if (!checkpoint) continue;
    all++;
    const found = await diagnose(join(folder, file), loadModel(fixture(checkpoint)));
    if (found.conclusion.kind === 'within noise') within++;
    else console.log(`${basename(file)}: ${conclusionText(found)}`);
  }
  console.log(`${within} of ${all} dumps are within noise`);
}
