/** How many mistakes the goldens catch, and how many a diagnosis names. */
import { referenceOf } from '../../src/reference/compare/reference.js';
import { namesOf } from '../../src/reference/compare/tensors.js';
import { Bench, type BenchOptions, type Runner, runnerFor } from '../../src/reference/diagnose/bench.js';
import { evidenceOf } from '../../src/reference/diagnose/evidence.js';
import { type Hypothesis, hypothesesFor } from '../../src/reference/diagnose/hypothesis.js';
import { search } from '../../src/reference/diagnose/search.js';
import { MUTANT_GROUPS, type Mutant, sameAs } from '../../src/reference/mutants/index.js';
import { type Computed, runMutated } from '../../src/reference/mutants/run.js';
import { trace } from '../../src/reference/trace/index.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, GOLDENS, readGolden } from './fixtures.js';
import {
  computedBy,
  type DumpForm,
  dumpedAs,
  FORMS,
  type MutantSetting,
  QUANTISED,
  settingOf,
} from './mutant-cases.js';

/** A family, or a way of storing rows, and what became of a mistake in it. */
interface Outcome {
  readonly mutant: Mutant;
  readonly family: string;
  caught: boolean;
  /** By form; null: it was not shown. */
  named: (boolean | null)[];
}

/** A golden in float64 agrees with ours to this part of its largest logit, which its test asserts: what lies further is caught. */
const CAUGHT = 1e-9;

/** A float32 run that lies so many times further from the truth than the right one needs no look in float64. */
const CLEAR = 64;

/** What a quantised cache is looked at with. */
const QUANTISED_CHECKPOINT = 'tiny-llama-rope3-f16';

/** A checkpoint, and how its rows are stored where that is another way. */
interface Setting {
  readonly name: string;
  readonly make: () => Promise<MutantSetting>;
  readonly hasGolden: boolean;
}

const PROMPT = 20;
const AFTER = 6;

/** @param most families that each mistake is shown in to the diagnosis */
export async function mutantsReport(most: number): Promise<void> {
  const outcomes = new Map<string, Outcome>();
  const checkpoints = [...FAMILY_CHECKPOINTS, ...[...CHECKPOINTS].reverse()]; // the small ones first: what they show is not shown again
  const settings: readonly Setting[] = [
    ...checkpoints.map((name) => ({ name, make: () => shortSetting(name), hasGolden: true })),
    ...QUANTISED.map(([dtype, configOf]) => ({
      name: `${QUANTISED_CHECKPOINT}, ${dtype} rows`,
      make: async () => {
        const { model, ids } = await shortSetting(QUANTISED_CHECKPOINT);
        return shortSetting(QUANTISED_CHECKPOINT, { kvDtype: await configOf(model, ids) });
      },
      hasGolden: false,
    })),
  ];
  for (const { name, make, hasGolden } of settings) {
    const setting = await make();
    const family = hasGolden ? setting.model.config.family : name;
    const all = hypothesesFor(setting.model);
    const own = hasGolden ? all : all.filter(({ faults }) => faults[0]!.mutant.group === 'quantised cache');
    if (hasGolden) await catches(name, setting, own, family, outcomes);
    else await seen(setting, own, family, outcomes);
    await names(setting, own, family, outcomes, most);
  }
  print([...outcomes.values()]);
}

async function shortSetting(checkpoint: string, options = {}): Promise<MutantSetting> {
  const { inputIds, generatedIds } = goldenOf(checkpoint);
  const prompt = Math.min(PROMPT, inputIds.length);
  return settingOf(checkpoint, [...inputIds, ...generatedIds].slice(0, prompt + AFTER), prompt, options);
}

function goldenOf(checkpoint: string) {
  return readGolden(GOLDENS.find((golden) => golden.checkpoint === checkpoint)!.name);
}

function outcomeOf(all: Map<string, Outcome>, { faults }: Hypothesis, family: string): Outcome {
  const { mutant } = faults[0]!;
  const key = `${mutant.name} ${family}`;
  const own = all.get(key) ?? { mutant, family, caught: false, named: FORMS.map(() => null) };
  all.set(key, own);
  return own;
}

/** Whether a golden of the family catches each mistake. */
async function catches(
  checkpoint: string,
  { model, wide }: MutantSetting,
  hypotheses: readonly Hypothesis[],
  family: string,
  outcomes: Map<string, Outcome>,
): Promise<void> {
  const { inputIds, generatedIds, truth } = goldenOf(checkpoint);
  const ids = [...inputIds, ...generatedIds.slice(0, -1)];
  const first = Math.floor(inputIds.length / 2) - 3; // in the middle of pages, chunks and windows
  const passes = [first, inputIds.length - first, ...generatedIds.slice(1).map(() => 1)];
  const run = { ids, passes, keeps: (point: string) => point === 'logits' };
  const far = (computed: Computed) => furthest(computed, truth);
  const own = far(await runMutated(model, {}, run));
  const largest = truth.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (const hypothesis of hypotheses) {
    const outcome = outcomeOf(outcomes, hypothesis, family);
    if (outcome.caught) continue;
    const narrow = far(await runMutated(model, hypothesis.mutation, run));
    outcome.caught =
      !(narrow <= CLEAR * own) || !(far(await runMutated(wide, hypothesis.mutation, run)) <= CAUGHT * largest);
  }
}

function furthest({ points, firstRow }: Computed, truth: Float64Array): number {
  const { values, width } = points.get('logits')!;
  let most = 0;
  for (let i = firstRow * width; i < values.length; i++) {
    const distance = Math.abs(values[i]! - truth[i]!);
    if (!(distance <= most)) most = distance;
  }
  return most;
}

/** Without a golden of others: whether it changes what ours computes. */
async function seen(
  { model, ids, passes }: MutantSetting,
  hypotheses: readonly Hypothesis[],
  family: string,
  outcomes: Map<string, Outcome>,
): Promise<void> {
  const run = { ids, passes, keeps: (point: string) => point === 'logits' };
  const right = Float64Array.from((await runMutated(model, {}, run)).points.get('logits')!.values);
  for (const hypothesis of hypotheses) {
    const far = furthest(await runMutated(model, hypothesis.mutation, run), right);
    outcomeOf(outcomes, hypothesis, family).caught = !(far < 1e-2);
  }
}

/** Shows each mistake to the diagnosis in every form, in one of its ways: another one in each family. */
async function names(
  setting: MutantSetting,
  hypotheses: readonly Hypothesis[],
  family: string,
  outcomes: Map<string, Outcome>,
  most: number,
): Promise<void> {
  const isShown = (mutant: Mutant) =>
    [...outcomes.values()].filter((own) => own.mutant === mutant && own.named[0] !== null).length >= most;
  const diagnose = await diagnoserFor(setting);
  for (const [mutant, ways] of grouped(hypotheses)) {
    const outcome = outcomeOf(outcomes, ways[0]!, family);
    if (outcome.named[0] !== null || isShown(mutant)) continue; // here with another checkpoint, or in enough families
    const way = ways[family.length % ways.length]!;
    const computed = await computedBy(setting, way.mutation);
    if (!computed) continue;
    for (const [i, form] of FORMS.entries()) outcome.named[i] = await diagnose(computed, form, mutant);
  }
}

function grouped(hypotheses: readonly Hypothesis[]): Map<Mutant, Hypothesis[]> {
  const groups = new Map<Mutant, Hypothesis[]>();
  for (const own of hypotheses) {
    const { mutant } = own.faults[0]!;
    groups.set(mutant, [...(groups.get(mutant) ?? []), own]);
  }
  return groups;
}

/** The parts of `diagnose` with what hypotheses compute kept, since many dumps of the same tokens are shown. */
async function diagnoserFor({ model, wide, ids, passes, shapes }: MutantSetting) {
  const options: BenchOptions = { model, other: () => wide, ids, passes };
  const direct = runnerFor(options, new Set(shapes.keys()));
  const kept = new Map<string, ReturnType<Runner>>();
  const run: Runner = (hypothesis, part) => {
    const key = `${hypothesis.key} | ${part.partKey}`;
    if (hypothesis.faults.length !== 1 || hypothesis.faults[0]!.where !== 'everywhere') return direct(hypothesis, part);
    if (!kept.has(key)) kept.set(key, direct(hypothesis, part));
    return kept.get(key)!;
  };
  const reference = referenceOf(await trace(model, ids, { capture: 'all', noiseOf: wide }), 'ours');
  const hypotheses = hypothesesFor(model);
  const setting = { model, wide, ids, passes, shapes, checkpoint: '' };
  return async (computed: Computed, form: DumpForm, mutant: Mutant): Promise<boolean> => {
    const dump = dumpedAs(setting, computed, form);
    const { named } = namesOf(dump, reference.points, { config: model.config });
    const evidence = evidenceOf(dump, reference, named, form.dtype === 'bfloat16' ? 'saved' : 'computed');
    const { explained } = await search(new Bench(evidence, options, run), hypotheses, { pairs: false });
    const [best, ...others] = explained.map(({ hypothesis }) => hypothesis.faults[0]!.mutant);
    if (best === undefined || best === mutant) return best === mutant;
    return sameAs(best, mutant) !== null && others.includes(mutant); // declared to be the same, and the same here
  };
}

function print(all: readonly Outcome[]): void {
  const families = new Set(all.map(({ family }) => family)).size;
  const heads = FORMS.map((form) => `named by ${formText(form)}`);
  console.log(`| mistakes of | mutants | pairs with a family | caught by goldens | shown | ${heads.join(' | ')} |`);
  console.log(`| --- |${' --- |'.repeat(4 + heads.length)}`);
  for (const group of MUTANT_GROUPS) line(group, all.filter(({ mutant }) => mutant.group === group)); // biome-ignore format: one thought
  line(`all, of ${families - QUANTISED.length} families`, all);
  tell(
    'not caught by a golden',
    all.filter(({ caught }) => !caught),
  );
  for (const [i, form] of FORMS.entries()) {
    if (form.dtype === 'float32') tell(`not named by ${formText(form)}`, all.filter(({ named }) => named[i] === false)); // biome-ignore format: one thought
  }
}

function tell(title: string, own: readonly Outcome[]): void {
  if (own.length > 0)
    console.log(`\n${title}: ${own.map(({ mutant, family }) => `${mutant.name} (${family})`).join(', ')}`);
}

const formText = ({ logitsAlone, dtype }: DumpForm) => `${logitsAlone ? 'logits alone' : 'all tensors'}, ${dtype}`;

function line(title: string, own: readonly Outcome[]): void {
  const mutants = new Set(own.map(({ mutant }) => mutant)).size;
  const named = FORMS.map((_, i) => share(own.flatMap(({ named }) => (named[i] === null ? [] : [named[i]!]))));
  const caught = share(own.map((outcome) => outcome.caught));
  const shown = own.filter(({ named }) => named[0] !== null).length;
  console.log(`| ${title} | ${mutants} | ${own.length} | ${caught} | ${shown} | ${named.join(' | ')} |`);
}

/** `98.3 %` */
function share(each: readonly boolean[]): string {
  return `${((100 * each.filter(Boolean).length) / Math.max(each.length, 1)).toFixed(1)} %`;
}
