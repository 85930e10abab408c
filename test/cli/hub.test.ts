import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { MAIN, type Outcome } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';
import { blobsOf, expectSound, NAME, OFFLINE, user } from '../support/hub.js';
import { HubServer } from '../support/hub-server.js';

const TEMPLATE = '{{ bos_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}';

/** A model that can chat. */
function files(): Record<string, Buffer> {
  const folder = fixture('austen-llama');
  const read = readdirSync(folder).filter((name) => !name.startsWith('golden'));
  const own = Object.fromEntries(read.map((name) => [name, readFileSync(join(folder, name))]));
  return { ...own, 'chat_template.jinja': Buffer.from(TEMPLATE) };
}

async function serve(): Promise<[HubServer, NodeJS.ProcessEnv]> {
  const server = await HubServer.start();
  server.publish(NAME, files());
  return [server, user(server)];
}

/** The command line beside the server, which is in this process. */
async function run(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } });
  child.stdin.end();
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [out, err, code] = await Promise.all([textOf(child.stdout), textOf(child.stderr), closed]);
  return { out, err, code };
}

it('chats with a model of the hub, and again without the hub', async () => {
  const [server, env] = await serve();
  const args = ['chat', 'How do you do?', '--model', NAME, '-n', '12'];
  const first = await run(env, ...args);
  expect(first).toMatchObject({ code: 0, err: '' });
  expect(first.out.length).toBeGreaterThan(10);
  expectSound(env);
  await server.stop();
  expect(await run({ ...env, ...OFFLINE }, ...args)).toEqual(first);
  // Without the word that it is offline, it says that it goes by its copy.
  const unreachable = await run(env, ...args);
  expect(unreachable).toMatchObject({ code: 0, out: first.out });
  expect(unreachable.err).toMatch(/^touchstone: .*; the copy in the cache is used\.\n$/);
}, 60_000);

it('lets every command that takes a model take one of the hub', async () => {
  const [server, env] = await serve();
  const out = temporaryFolder();
  const text = fixture('austen-held-out.txt');
  const commands = [
    ['memory', NAME, '--no-chart'],
    ['inspect', NAME],
    ['generate', 'It was', '--model', NAME, '-n', '2'],
    ['golden', NAME, '--ids', '1,2', '--out', join(out, 'golden.safetensors')],
    ['calibrate', NAME, '--text', text, '--out', join(out, 'scales.json')],
    ['quality', NAME, '--text', text, '--tokens', '20'],
    ['convert', NAME, join(out, 'mqa'), '--to', 'mqa'],
  ];
  const [memory, ...others] = commands as [string[], ...string[][]];
  expect(await run(env, ...memory)).toMatchObject({ code: 0, err: '' });
  expect(server.transfers('model.safetensors'), 'its config is enough').toEqual([]);
  for (const args of others) {
    const found = await run(env, ...args);
    expect(found.code, `${args[0]}: ${found.err}`).toBe(0);
  }
  expect(server.transfers('model.safetensors')).toHaveLength(1);
  expect(readdirSync(out).sort()).toEqual(['golden.safetensors', 'mqa', 'scales.json']);
}, 120_000);

it.each([
  ['private', /^touchstone: owner\/name: .*HF_TOKEN.*\n$/],
  ['gated', /^touchstone: owner\/name: .*licen[cs]e.*\n$/],
] as const)('says in one sentence that a model is %s', async (access, sentence) => {
  const [server, env] = await serve();
  server.protect(NAME, access);
  const found = await run(env, 'inspect', NAME);
  expect(found).toMatchObject({ code: 1, out: '' });
  expect(found.err).toMatch(sentence);
});

it('ends a download at Ctrl-C with what has come, and goes on from there', async () => {
  const [server, env] = await serve();
  server.fail('model.safetensors', { kind: 'stall', at: 500_000 });
  const child = spawn(process.execPath, [MAIN, 'inspect', NAME], { env: { ...process.env, ...env } });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const err = textOf(child.stderr);
  const partial = () => blobsOf(env).some((name) => name.endsWith('.incomplete'));
  while (!partial()) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.kill('SIGINT');
  expect([await closed, await err]).toEqual([130, '']);
  expectSound(env);
  expect(partial()).toBe(true);
  server.heal();
  expect((await run(env, 'inspect', NAME)).code).toBe(0);
  expect(server.transfers('model.safetensors').at(-1)).toMatch(/^bytes=[1-9]\d*-/);
  expectSound(env);
}, 60_000);
