#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { closeDevices } from '../attention/kernel/gpu/devices.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { VERSION } from '../src/version.js';
import { benchCommand } from './bench.js';
import { calibrateCommand } from './calibrate.js';
import { chatCommand } from './chat.js';
import { completeCommand, completionCommand } from './completion.js';
import { convertCommand } from './convert.js';
import { devicesCommand } from './devices.js';
import { generateCommand } from './generate.js';
import { goldenCommand } from './golden.js';
import { inspectCommand } from './inspect.js';
import { memoryCommand } from './memory.js';
import { USAGE_ERRORS } from './options.js';
import { qualityCommand } from './quality.js';

/** Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
async function main(): Promise<void> {
  process.on('SIGINT', () => {
    if (process.listenerCount('SIGINT') > 1) return; // a chat listens too while it replies
    if (process.stderr.isTTY) process.stderr.write('\n'); // the shell goes on below the ^C, not behind it
    process.exit(130);
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
    .addCommand(generateCommand())
    .addCommand(chatCommand())
    .addCommand(inspectCommand())
    .addCommand(goldenCommand())
    .addCommand(convertCommand())
    .addCommand(calibrateCommand())
    .addCommand(qualityCommand())
    .addCommand(memoryCommand())
    .addCommand(benchCommand())
    .addCommand(devicesCommand())
    .addCommand(completionCommand());
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

/** Prints an error as one sentence. Returns the exit code. */
function report(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed it
  const known = error instanceof TouchstoneError;
  const message = known ? error.message : `unexpected error: ${(error as Error).message ?? error}`;
  process.stderr.write(`touchstone: ${printable(message)}\n`);
  if (debug) process.stderr.write(`${(error as Error).stack}\n`);
  else if (!known) process.stderr.write('(--debug shows where; please report it)\n');
  return error instanceof UsageError ? 2 : 1;
}

/** Names from a file may hold control characters, which would break the line or drive the terminal. */
function printable(message: string): string {
  return message.replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

await main();
