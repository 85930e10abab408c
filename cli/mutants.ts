import type { Command } from 'commander';
import { Option } from 'commander';
import { candidatesFor, MUTANT_GROUPS, MUTANTS, type Mutant, mutantNamed } from '../src/reference/mutants/index.js';
import { printable } from './escape.js';
import { load } from './load-model.js';
import { MODEL } from './model-folder.js';
import { newCommand } from './options.js';
import { type RunFlags, runOptions } from './run-options.js';
import { wrapped } from './wrap.js';

interface Flags extends RunFlags {
  readonly model?: string;
  readonly group?: string;
  readonly json?: true;
}

/** A mutant, and the ways in which a model can have it; null: no model was asked for. */
interface Listed {
  readonly mutant: Mutant;
  readonly variants: readonly string[] | null;
}

export function mutantsCommand(): Command {
  const command = newCommand('mutants')
    .description('list the mistakes of ports that touchstone diagnose knows, or tell of one')
    .argument('[name]', 'of a mutant, to tell all of it')
    .option('--model <model>', `only those that this model can have (${MODEL})`)
    .addOption(new Option('--group <group>', 'only those of one part of a port').choices([...MUTANT_GROUPS]))
    .option('--json', 'one JSON object');
  return runOptions(command).action(async (name: string | undefined, flags: Flags) => {
    const all = name === undefined ? MUTANTS : [mutantNamed(name)];
    const listed = await listedOf(all, flags);
    const chosen = listed.filter(({ mutant }) => flags.group === undefined || mutant.group === flags.group);
    process.stdout.write(flags.json ? jsonOf(chosen) : textOf(chosen, name !== undefined));
  });
}

async function listedOf(all: readonly Mutant[], flags: Flags): Promise<Listed[]> {
  if (flags.model === undefined) return all.map((mutant) => ({ mutant, variants: null }));
  const { model } = await load(flags.model, flags, 'logits');
  const candidates = candidatesFor(model);
  return all.flatMap((mutant) => {
    const variants = candidates.filter((own) => own.mutant === mutant).map(({ variant }) => variant.label);
    return variants.length > 0 ? [{ mutant, variants }] : [];
  });
}

function jsonOf(listed: readonly Listed[]): string {
  const plain = listed.map(({ mutant: { name, group, mistake, symptom, fix, sameAs = {} }, variants }) => ({
    name,
    group,
    mistake,
    symptom,
    fix,
    sameAs,
    ...(variants && { variants: variants.filter((label) => label !== '') }),
  }));
  return `${JSON.stringify({ mutants: plain }, null, 2)}\n`;
}

function textOf(listed: readonly Listed[], whole: boolean): string {
  const columns = Math.max(process.stdout.columns ?? Number.POSITIVE_INFINITY, 40);
  const lines = whole ? oneLines(listed) : listLines(listed);
  return `${lines.flatMap((line) => wrapped(printable(line), columns)).join('\n')}\n`;
}

function listLines(listed: readonly Listed[]): string[] {
  const groups = MUTANT_GROUPS.filter((group) => listed.some(({ mutant }) => mutant.group === group));
  const lines = groups.flatMap((group) => [
    `${group}:`,
    ...listed.filter(({ mutant }) => mutant.group === group).map(({ mutant }) => `  ${mutant.name}: ${mutant.mistake}`),
    '',
  ]);
  return [...lines, `${listed.length} mutants. touchstone mutants NAME tells the symptom and the fix of one.`];
}

function oneLines(listed: readonly Listed[]): string[] {
  return listed.length > 0
    ? listed.flatMap(wholeLines)
    : ['The model that was given cannot have it, or it is of another group.'];
}

function wholeLines({ mutant: { name, group, mistake, symptom, fix, sameAs = {} }, variants }: Listed): string[] {
  const labels = (variants ?? []).filter((label) => label !== '');
  return [
    `${name} (${group})`,
    `mistake: ${mistake}`,
    `symptom: ${symptom}`,
    `fix: ${fix}`,
    ...(labels.length > 0 ? [`looked for with: ${labels.join(', ')}`] : []),
    ...Object.entries(sameAs).map(([other, why]) => `may be the same as ${other}: ${why}`),
  ];
}
