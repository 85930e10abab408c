/**
 * The conformance kit: a folder with small checkpoints, prompts, and what a forward pass computes of them, against which an implementation in
 * any language can be tested, offline and without touchstone.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashesOf } from '../../checkpoint/folder.js';
import { writeSafetensors } from '../../checkpoint/safetensors/write.js';
import { packagedFile } from '../../embedded.js';
import { UsageError } from '../../errors.js';
import { fillFolder } from '../../files.js';
import { uniform } from '../../generate/sampler.js';
import { familyOf } from '../../model/families/index.js';
import { loadModel } from '../../model/load.js';
import { WeightReader } from '../../model/weight-reader.js';
import { VERSION } from '../../version.js';
import { writeTrace } from '../trace/index.js';
import type { GreedyRun } from '../trace/run.js';
import { traceSchemaText } from '../trace/schema.js';
import { MadeWeights } from './made-weights.js';
import { kitReadme } from './readme.js';
import { KIT_RECIPES, type KitRecipe } from './recipes.js';
import { KIT_VARIANTS, type KitVariant } from './variants.js';

const KIT_FORMAT = 'touchstone-kit-1';

/** Longer than windows, pages and two blocks of a sum; with the tokens that are generated, no whole number of pages. */
const PROMPT_TOKENS = 35;
const STEPS = 3;

export interface KitOptions {
  /** Checkpoints by name; all by default. */
  readonly only?: readonly string[] | undefined;
  /** Awaited after each layer of a pass. */
  readonly pause?: (() => Promise<void>) | undefined;
  /** Told how many traces are written. */
  readonly progress?: ((done: number, of: number) => void) | undefined;
}

export interface KitSummary {
  readonly checkpoints: readonly string[];
  /** Names of the files in `traces/`, without `.safetensors`. */
  readonly traces: readonly string[];
  readonly files: number;
  readonly bytes: number;
}

/** A prompt, and what has to follow it. */
export interface KitPrompt {
  readonly input_ids: readonly number[];
  readonly generated_ids: readonly number[];
}

/**
 * Writes a kit; the same one each time.
 * @param out a folder that is not there yet, or is empty: it is filled whole, or not at all
 * @throws UsageError for a folder that is neither, or a checkpoint that no kit has
 */
export async function writeKit(out: string, options: KitOptions = {}): Promise<KitSummary> {
  const recipes = chosen(options.only);
  return fillFolder(out, async (folder) => {
    const runs = runsOf(recipes);
    for (const part of ['checkpoints', 'traces']) mkdirSync(join(folder, part));
    for (const recipe of recipes) writeCheckpoint(join(folder, 'checkpoints', recipe.name), recipe);
    const prompts: Record<string, KitPrompt> = {};
    for (const [done, run] of runs.entries()) {
      const { generatedIds } = await traceOf(folder, run, options.pause);
      if (!run.variant) prompts[run.name] = { input_ids: promptOf(run.recipe), generated_ids: generatedIds };
      options.progress?.(done + 1, runs.length);
    }
    const variants = runs.flatMap(({ variant }) => variant ?? []);
    writePages(folder, prompts, kitReadme(recipes, variants));
    const traces = runs.map(({ name }) => name);
    return { checkpoints: recipes.map(({ name }) => name), traces, ...sizesOf(folder) };
  });
}

function chosen(only: readonly string[] | undefined): readonly KitRecipe[] {
  const names = KIT_RECIPES.map(({ name }) => name);
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `only (--only): expected ${names.slice(0, -1).join(', ')} or ${names.at(-1)}, got ${unknown}.`,
    );
  }
  return KIT_RECIPES.filter(({ name }) => only?.includes(name) ?? true);
}

/** What a trace is of: a checkpoint, run as it is or otherwise. */
interface KitRun {
  /** Of the trace: CHECKPOINT or CHECKPOINT.VARIANT. */
  readonly name: string;
  readonly recipe: KitRecipe;
  readonly variant: KitVariant | null;
}

function runsOf(recipes: readonly KitRecipe[]): KitRun[] {
  const plain = recipes.map((recipe) => ({ name: recipe.name, recipe, variant: null }));
  const otherwise = KIT_VARIANTS.flatMap((variant) => {
    const recipe = recipes.find(({ name }) => name === variant.checkpoint);
    return recipe ? [{ name: `${recipe.name}.${variant.name}`, recipe, variant }] : [];
  });
  return [...plain, ...otherwise];
}

/** Writes config.json and model.safetensors as transformers does. */
function writeCheckpoint(folder: string, { config: raw, dtype }: KitRecipe): void {
  mkdirSync(folder);
  const file = join(folder, 'config.json');
  writeFileSync(file, jsonText(raw));
  const family = familyOf(raw, file);
  const config = family.configure(raw, { file, ropeLength: null });
  const weights = new MadeWeights(folder, config, dtype);
  family.bind(config, new WeightReader(weights, 'float32'));
  writeSafetensors(join(folder, 'model.safetensors'), weights.made, { format: 'pt' });
}

/** Tokens at random: all of the vocabulary may be in it. */
function promptOf(recipe: KitRecipe): number[] {
  const random = uniform(KIT_RECIPES.indexOf(recipe));
  const vocabulary = recipe.config.vocab_size as number;
  return Array.from({ length: PROMPT_TOKENS }, () => Math.floor(random() * vocabulary));
}

async function traceOf(
  folder: string,
  { name, recipe, variant }: KitRun,
  pause: KitOptions['pause'],
): Promise<GreedyRun> {
  const from = join(folder, 'checkpoints', recipe.name);
  const model = loadModel(from, variant?.options);
  await variant?.prepare?.(model);
  const { attention } = model.options;
  const noiseOf = loadModel(from, { precision: 'float64', attention });
  const file = join(folder, 'traces', `${name}.safetensors`);
  return writeTrace(file, model, promptOf(recipe), { capture: 'all', steps: STEPS, noiseOf, pause });
}

function writePages(folder: string, prompts: Readonly<Record<string, KitPrompt>>, readme: string): void {
  writeFileSync(join(folder, 'prompts.json'), jsonText(prompts));
  writeFileSync(join(folder, 'schema.json'), traceSchemaText());
  copyFileSync(packagedFile('fixtures', 'TRACE.md'), join(folder, 'TRACE.md'));
  writeFileSync(join(folder, 'README.md'), readme);
  const sha256 = Object.fromEntries(
    filesIn(folder).map((name) => [name, Object.values(hashesOf([join(folder, name)]))[0]]),
  );
  writeFileSync(join(folder, 'manifest.json'), jsonText({ format: KIT_FORMAT, touchstone: VERSION, sha256 }));
}

/** Names within the folder, with slashes, in order. */
function filesIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => name.replaceAll('\\', '/'))
    .sort();
}

function sizesOf(folder: string): Pick<KitSummary, 'files' | 'bytes'> {
  const sizes = filesIn(folder).map((name) => readFileSync(join(folder, name)).length);
  return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** Lists of numbers stay on one line. */
function jsonText(value: object): string {
  const text = JSON.stringify(value, null, 2);
  return `${text.replace(/\[[\d\s,]*\]/g, (list) => list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'))}\n`;
}
