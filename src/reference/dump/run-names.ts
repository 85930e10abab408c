/** Names of what a run was fed and chose, beside what it computes: the one table of their spellings. */
import { dotted } from './place.js';

export const RUN_NAMES = ['input_ids', 'generated_ids', 'positions', 'margins'] as const;

export type RunName = (typeof RUN_NAMES)[number];

/** The trace's own name, then those of others: transformers, llama.cpp, vLLM, gpt-fast and its kin, and what people call them in scripts. */
const SPELLINGS: Readonly<Record<RunName, readonly string[]>> = {
  input_ids: [
    'input_ids', 'ids', 'tokens', 'token_ids', 'inp_tokens', 'input_tokens', 'input_token_ids', 'prompt_ids', 'prompt_tokens', 'prompt_token_ids',
  ],
  generated_ids: [
    'generated_ids', 'generated', 'generated_tokens', 'generated_token_ids', 'output_ids', 'output_tokens', 'output_token_ids', 'completion_ids',
  ],
  positions: ['positions', 'position_ids', 'inp_pos', 'input_pos', 'token_positions'],
  margins: ['margins'],
}; // biome-ignore format: a table

const MEANINGS: ReadonlyMap<string, RunName> = new Map(
  RUN_NAMES.flatMap((own) => SPELLINGS[own].map((spelling) => [spelling, own] as const)),
);

/** Which tensor of a run a name stands for, whatever wrappers put before it; null: none. */
export function runName(name: string): RunName | null {
  return MEANINGS.get(dotted(name)) ?? null;
}
