/** 56: whoever asked goes away. Pages are free again, files and the terminal whole, and the exit code is 130. */
import { spawn } from 'node:child_process';
import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { type GenerateOptions, generate } from '../../src/generate/generate.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { bad, newFolder, TINY } from '../support/bad-input.js';
import { MAIN, touchstoneAside } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';
import { decide, missingTerminal } from '../support/parts.js';

/** Interrupts a command when it writes, or else after so many milliseconds: later and later, until it has come as far as to have an answer. */
async function interrupted(args: readonly string[], after?: number): Promise<{ code: number | null; err: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const closed = new Promise<[number | null, string | null]>((resolve) => {
    child.once('close', (code, signal) => resolve([code, signal]));
  });
  const err = textOf(child.stderr);
  if (after === undefined) await new Promise((resolve) => child.stdout.once('data', resolve));
  else await setTimeout(after);
  child.kill('SIGINT');
  const [code, signal] = await closed;
  if (signal === 'SIGINT' && after !== undefined) return interrupted(args, 2 * after); // Node itself had only begun
  return { code, err: await err };
}

async function expectWholeFiles(): Promise<void> {
  const folder = newFolder();
  const saved = join(folder, 'cache.safetensors');
  const long = ['generate', 'It was', '-n', '400'];
  expect(await interrupted([...long, '--save-cache', saved])).toEqual({ code: 130, err: '' });
  // The cache is saved before the first token is out, so it is there, whole, and can be gone on from.
  expect(readdirSync(folder)).toEqual(['cache.safetensors']);
  expect((await touchstoneAside(['generate', 'It was', '-n', '1', '--load-cache', saved])).code).toBe(0);

  // Without a cache this takes minutes; what was there before stays.
  const out = join(folder, 'golden.safetensors');
  const golden = ['golden', fixture('austen-llama'), '--ids', '1,2', '--steps', '400', '--cache', 'none', '--out', out];
  expect(await interrupted(golden, 500)).toEqual({ code: 130, err: '' });
  expect(readdirSync(folder)).toEqual(['cache.safetensors']);
  copyFileSync(saved, out);
  expect(await interrupted(golden, 500)).toEqual({ code: 130, err: '' });
  expect((await touchstoneAside(['generate', 'It was', '-n', '1', '--load-cache', out])).code).toBe(0);

  const text = join(folder, 'text.txt');
  writeFileSync(text, 'It was a truth universally acknowledged. '.repeat(1000));
  const scales = join(folder, 'scales.json');
  const calibrate = ['calibrate', fixture('austen-llama'), '--text', text, '--out', scales];
  expect(await interrupted(calibrate, 300)).toEqual({ code: 130, err: '' });
  expect(readdirSync(folder).sort()).toEqual(['cache.safetensors', 'golden.safetensors', 'text.txt']);
  // While it waits for its prompt, too.
  expect(await interrupted(['generate'], 500)).toEqual({ code: 130, err: '' });
}

async function expectWholeTerminal(): Promise<void> {
  const run = `${process.execPath} ${MAIN} generate 'It was' -n 400; echo "code $?"`;
  const shell = `trap : INT; stty -g; ${run}; stty -g`;
  const child = spawn('script', ['-qfc', `sh -c '${shell.replaceAll("'", "'\\''")}'`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let screen = '';
  let pressed = false;
  child.stdout.on('data', (piece: Buffer) => {
    screen += piece;
    if (pressed || screen.trimEnd().split('\n').length < 2) return;
    pressed = true; // the first words are on the screen
    child.stdin.write('\x03');
  });
  await new Promise((resolve) => child.once('close', resolve));
  const lines = screen.trim().split(/\r?\n/);
  expect(lines.at(-2)).toBe('code 130');
  expect(lines.at(-1), 'the modes of the terminal').toBe(lines[0]);
  const count = (sequence: string) => screen.split(sequence).length - 1;
  expect(count('\x1b[?25l'), 'the cursor is shown as often as it is hidden').toBe(count('\x1b[?25h'));
}

/** A model with a pool of its own, where its rows are quantised and kept whole for a while, too. */
function pooled(cache: 'paged' | 'prefix' | 'radix', residual: boolean): Model {
  const kvDtype = residual ? ({ dtype: 'int8', residual: 4 } as const) : 'auto';
  return loadModel(fixture(TINY), { cache, pageSize: 4, poolPages: 16, kvDtype });
}

/** Pages that a sequence holds; what an index keeps can be had back at any time. */
function pagesHeld({ components: { caches } }: Model): number {
  return caches.pool!.used - (caches.index?.idle ?? 0);
}

const prompt = Array.from({ length: 11 }, (_, i) => i);

async function expectFreePages(of: Model, interrupt: (options: GenerateOptions) => GenerateOptions): Promise<void> {
  const cache = of.components.newCache();
  const options = interrupt({ maxNewTokens: 8, prefillChunk: 5 });
  let made = 0;
  try {
    for await (const _ of generate(of, prompt, cache, options)) if (++made === 3) break;
  } catch (error) {
    expect((error as Error).message).toBe('gone');
  }
  // What was committed can be gone on from, or given back.
  expect(cache.next).toBeLessThanOrEqual(prompt.length + made);
  expect(cache.ids.length).toBe(cache.next);
  cache.release();
  expect(pagesHeld(of)).toBe(0);
  while (of.components.caches.pool!.lender?.evict());
  expect(of.components.caches.pool!.used).toBe(0);
}

bad(
  56,
  'Ctrl-C, or a client that goes away: pages are freed, files and the terminal whole, the exit code 130',
  async () => {
    for (const cache of ['paged', 'prefix', 'radix'] as const) {
      for (const residual of [false, true]) {
        const of = pooled(cache, residual);
        await expectFreePages(of, (options) => options); // it stops listening
        for (let layers = 1; layers <= 12; layers++) {
          let left = layers;
          const pause = async () => {
            if (--left === 0) throw new Error('gone'); // in the middle of a pass
          };
          await expectFreePages(of, (options) => ({ ...options, pause }));
        }
      }
    }
    await expectWholeFiles();
    const missing = missingTerminal();
    const decision = decide(missing, process.env.TOUCHSTONE_REQUIRE);
    if (decision === 'fail') throw new Error(`TOUCHSTONE_REQUIRE=all, and a part is missing: ${missing}`);
    if (decision === 'run') await expectWholeTerminal();
    else process.stderr.write(`Skipped: the terminal after Ctrl-C: ${missing}\n`);
  },
);
