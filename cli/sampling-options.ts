/** The options that decide how a token is drawn, and how a text ends. */
import type { Command } from 'commander';
import type { SamplingDefaults } from '../src/checkpoint/folder.js';
import { UsageError } from '../src/errors.js';
import type { SamplerOptions } from '../src/generate/sampler.js';
import { collected, decimal, GROUPS, wholeNumber } from './options.js';

export interface SamplingFlags extends SamplerOptions {
  readonly maxNewTokens?: number;
  readonly stop?: string[];
}

export const GREEDY: SamplingDefaults = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };

/**
 * `--max-new-tokens` to `--stop`
 * @param most what is generated where no number is given, in words
 * @param defaults undefined: those of the checkpoint
 */
export function samplingOptions(command: Command, most: string, defaults?: SamplingDefaults): Command {
  const own = defaults ? '' : ' (default: as generation_config.json says)';
  return command
    .optionsGroup(GROUPS.sampling)
    .option('-n, --max-new-tokens <n>', `tokens to generate (default: ${most})`, wholeNumber(0))
    .option('--temperature <t>', `0 is greedy${own}`, decimal, defaults?.temperature)
    .option('--top-k <k>', `sample from the k most likely tokens (0: all)${own}`, wholeNumber(0), defaults?.topK)
    .option(
      '--top-p <p>',
      `sample from the fewest tokens with this much probability together${own}`,
      decimal,
      defaults?.topP,
    )
    .option(
      '--min-p <p>',
      `sample from tokens at least p times as likely as the likeliest${own}`,
      decimal,
      defaults?.minP,
    )
    .option(
      '--repetition-penalty <x>',
      `make tokens that occurred less likely (1: off)${own}`,
      decimal,
      defaults?.repetitionPenalty,
    )
    .option(
      '--seed <n>',
      'seed of the sampler, Mersenne Twister MT19937 (default: a new one, said by --stats and --json)',
      wholeNumber(0),
    )
    .option('--stop <text>', 'end before this text; may be given several times', collected);
}

/** @throws UsageError */
export function expectStops({ stop }: SamplingFlags): void {
  if (stop?.includes('')) throw new UsageError('--stop: expected a text, got an empty one.');
}

export function newSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}
