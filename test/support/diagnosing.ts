/** Dumps of mistakes, and what a diagnosis says of them. */
import type { Diagnosis } from '../../src/reference/diagnose/diagnosis.js';
import { type DiagnoseOptions, diagnose } from '../../src/reference/diagnose/index.js';
import type { Dump } from '../../src/reference/dump/dump.js';
import { candidatesFor } from '../../src/reference/mutants/index.js';
import type { Mutation } from '../../src/reference/mutants/mutant.js';
import { computedBy, type DumpForm, dumpedAs, type MutantSetting, settingOf } from './mutant-cases.js';

export const WHOLE: DumpForm = { logitsAlone: false, dtype: 'float32' };
export const LOGITS: DumpForm = { logitsAlone: true, dtype: 'float32' };

export const formText = ({ logitsAlone, dtype }: DumpForm) =>
  `${logitsAlone ? 'logits alone' : 'all tensors'}, ${dtype}`;

/** A prompt of 16 tokens, and 8 after it. */
export function shortSetting(checkpoint: string): Promise<MutantSetting> {
  const ids = Array.from({ length: 24 }, (_, i) => 3 + ((7 * i * i + 5 * i) % 90));
  return settingOf(checkpoint, ids, 16);
}

export function mutationOf({ model }: MutantSetting, name: string): Mutation {
  const candidates = candidatesFor(model);
  const found = candidates.find((own) => own.name === name);
  if (!found) throw new Error(`no ${name} among ${candidates.map((own) => own.name).join(', ')}`);
  return found.variant;
}

export async function dumpOfMistake(setting: MutantSetting, mutation: Mutation, form: DumpForm): Promise<Dump> {
  return dumpedAs(setting, (await computedBy(setting, mutation))!, form);
}

export function diagnosed(
  dump: Dump,
  { model, wide }: MutantSetting,
  options: DiagnoseOptions = {},
): Promise<Diagnosis> {
  return diagnose(dump, model, { noiseOf: wide, ...options });
}

/** "scale-missing + bos-twice" of the best explanation, or the kind of conclusion. */
export function namesOf({ conclusion }: Diagnosis): string {
  if (conclusion.kind !== 'explained') return conclusion.kind;
  return conclusion.explanations[0].faults.map(({ name, label }) => (label ? `${name} (${label})` : name)).join(' + ');
}
