#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { closeDevices } from '../attention/kernel/gpu/devices.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { VERSION } from '../src/version.js';
import { benchCommand } from './bench.js';
import { calibrateCommand } from './calibrate.js';
import { chatCommand } from './chat.js';
import { compareCommand } from './compare.js';
import { completeCommand, completionCommand } from './completion.js';
import { convertCommand } from './convert.js';
import { devicesCommand } from './devices.js';
import { diagnoseCommand } from './diagnose.js';
import { printable } from './escape.js';
import { generateCommand } from './generate.js';
import { goldenCommand } from './golden.js';
import { inspectCommand } from './inspect.js';
import { Interrupted } from './interrupted.js';
import { kitCommand } from './kit.js';
import { memoryCommand } from './memory.js';
import { mutantsCommand } from './mutants.js';
import { USAGE_ERRORS } from './options.js';
import { qualityCommand } from './quality.js';
import { spliceCommand } from './splice.js';

/** In the order of `--help`. */
const COMMANDS: readonly (readonly [heading: string, commands: () => Command[]])[] = [
  ['Run a model:', () => [generateCommand(), chatCommand()]],
  ['Make references for other implementations:', () => [goldenCommand(), kitCommand(), calibrateCommand()]],
  ['Compare another implementation:', () => [compareCommand(), spliceCommand(), diagnoseCommand(), mutantsCommand()]],
  ['Look at a model, or change it:', () => [inspectCommand(), memoryCommand(), qualityCommand(), convertCommand()]],
  ['This machine:', () => [devicesCommand(), benchCommand(), completionCommand()]],
];

const EXAMPLES = `
Examples:
  touchstone generate "It was" --temperature 0.8 --seed 1
  touchstone chat --model Qwen/Qwen3-0.6B
  touchstone golden path/to/checkpoint --ids 1,2,3 --steps 64 --out golden.safetensors
  touchstone compare dump.safetensors --model path/to/checkpoint --bisect
  touchstone diagnose dump.safetensors --model path/to/checkpoint
  touchstone inspect owner/name
  touchstone memory llama-3.1-8b --context 32768 --batch 4

A model is a folder in Hugging Face form, or owner/name[@revision] of the hub, which is downloaded into
the cache that Python uses (HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean there).
Without one it is the checkpoint that comes with touchstone. Exit codes: 0 done, 1 failed, or compared and different, 2 wrong usage, 130 interrupted.`;

/** Exit codes: 0 done, 1 failed or different, 2 wrong usage, 130 interrupted. */
async function main(): Promise<void> {
  process.on('SIGINT', () => {
    if (process.listenerCount('SIGINT') > 1) return; // a download ends by itself, and a chat its reply
    process.exit(interrupted());
  });
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0); // nobody reads on
    process.stderr.write(`touchstone: standard output cannot be written (${error.code}).\n`);
    process.exit(1);
  });
  const program = new Command('touchstone')
    .description('A readable decoder-only transformer on which other implementations are tested.')
    .version(VERSION)
    .exitOverride()
    .configureOutput(USAGE_ERRORS)
    .showHelpAfterError('(touchstone --help lists the commands)')
    .addHelpText('after', EXAMPLES);
  for (const [heading, commands] of COMMANDS) {
    for (const command of commands()) program.addCommand(command.helpGroup(heading));
  }
  const help = new Command('help').argument('[command]').description('print the help of a command');
  program.addHelpCommand(help.helpGroup('This machine:'));
  program.addCommand(completeCommand(program), { hidden: true });
  const debug = process.argv.includes('--debug');
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = report(error, debug);
  }
  try {
    await closeDevices(); // Dawn may crash a process that ends with a GPU
  } catch (error) {
    process.exit(report(error, debug)); // whatever holds the process now
  }
}

/** @returns the exit code */
function interrupted(): number {
  if (process.stderr.isTTY) process.stderr.write('\n'); // the shell goes on below the ^C, not behind it
  return 130;
}

/** Prints an error as one sentence. Returns the exit code. */
function report(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed it
  if (error instanceof Interrupted) return interrupted();
  const known = error instanceof TouchstoneError;
  const message = known ? error.message : `unexpected error: ${(error as Error).message ?? error}`;
  process.stderr.write(`touchstone: ${printable(message)}\n`);
  if (debug) process.stderr.write(`${(error as Error).stack}\n`);
  else if (!known) process.stderr.write('(--debug shows where; please report it)\n');
  return error instanceof UsageError ? 2 : 1;
}

await main();
