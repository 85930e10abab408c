/** What is different on a terminal: bars, and a chat that is typed. */
import { spawn } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, it } from 'vitest';
import { copyOf, editJson, tensorsOf } from '../support/checkpoint.js';
import { MAIN } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';
import { NAME, repository, user } from '../support/hub.js';
import { HubServer } from '../support/hub-server.js';
import { describeWith, missingTerminal } from '../support/parts.js';

interface Screen {
  readonly text: string;
  readonly code: number | null;
}

/** Runs a command on a terminal; each time the screen ends as expected, the next keys are typed. */
async function onTerminal(
  args: readonly string[],
  typed: readonly (readonly [RegExp, string])[] = [],
  variables: NodeJS.ProcessEnv = { HF_HUB_OFFLINE: '1' },
): Promise<Screen> {
  const line = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ');
  // exec: a shell that waits would take Ctrl-C for its own, and end with 130 whatever the command made of it (dash does).
  const child = spawn('script', ['-qefc', `exec ${line}`, '/dev/null'], { env: { ...process.env, ...variables } });
  const keys = [...typed];
  let [text, seen] = ['', 0];
  child.stdout.on('data', (piece: Buffer) => {
    text += piece;
    const [next] = keys;
    if (!next?.[0].test(stripVTControlCharacters(text.slice(seen)))) return;
    seen = text.length;
    keys.shift();
    child.stdin.write(next[1]);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  expect(keys, text).toEqual([]);
  return { text, code };
}

const count = (text: string, part: string) => text.split(part).length - 1;
const PROMPT = /> $/;

/** A checkpoint that talks until it is stopped. */
function talker(): string {
  const folder = copyOf('austen-llama');
  writeFileSync(
    join(folder, 'chat_template.jinja'),
    '{{ bos_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}',
  );
  return folder;
}

/** A checkpoint with an embedding of 0.5 GB, which takes no room on a disk that knows of holes. */
function large(): string {
  const folder = copyOf('tiny-llama-linear-bf16');
  const rows = 2 ** 21;
  editJson(join(folder, 'config.json'), (config) => ({ ...config, vocab_size: rows }));
  const tensors = tensorsOf(folder).map(({ name, shape }) => {
    const own = /embed_tokens|lm_head/.test(name) ? [rows, shape[1]!] : shape;
    return { name, shape: own, bytes: own.reduce((product, length) => product * length, 2) };
  });
  let end = 0;
  const entries = tensors.map(({ name, shape, bytes }) => {
    end += bytes;
    return [name, { dtype: 'BF16', shape, data_offsets: [end - bytes, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = join(folder, 'model.safetensors');
  writeFileSync(file, Buffer.concat([length, header]));
  truncateSync(file, 8 + header.length + end);
  return folder;
}

describeWith(missingTerminal(), 'on a terminal', () => {
  it('a chat answers what is typed, and knows a few words of its own', async () => {
    const args = ['chat', '--model', talker(), '-n', '6', '--stats'];
    const { text, code } = await onTerminal(args, [
      [PROMPT, '/help\r'],
      [PROMPT, 'Good morning,\\\r'],
      [/\. $/, 'my dear.\r'],
      [/turn 1[\s\S]*> $/, '/again\r'],
      [/turn 2[\s\S]*> $/, '/nonsense\r'],
      [PROMPT, '/undo\r'],
      [PROMPT, '/reset\r'],
      [PROMPT, 'Adieu.\r'],
      [/turn 3[\s\S]*> $/, '/exit\r'],
    ]);
    expect(code).toBe(0);
    expect(text).toMatch(/\/again +another reply/);
    expect(text).toContain('There is no /nonsense; /help lists what there is');
    const prompts = [...text.matchAll(/turn \d +(\d+) tokens before the reply/g)].map(([, tokens]) => Number(tokens));
    expect(prompts[1]).toBe(prompts[0]); // the same question
    expect(prompts[2]).toBeLessThan(prompts[0]!); // and a new conversation
  });

  it('Ctrl-C ends a reply, not the chat; where a message is typed it ends the chat with 130', async () => {
    const args = ['chat', '--model', talker(), '--stats'];
    const { text, code } = await onTerminal(args, [
      [PROMPT, 'Good morning.\r'],
      [/Good morning\.\s+\S/, '\x03'],
      [/\(interrupted\)[\s\S]*> $/, '\x03'],
    ]);
    expect(text).toContain('turn 1');
    expect(code).toBe(130);
    expect(text).not.toContain('    at ');
  });

  it('takes a message back that is interrupted before a word, leaves the reply that /again would replace, and saves what was said', async () => {
    const folder = talker();
    const saved = join(folder, 'saved.json');
    const long = 'Good morning, my dear sister, said she. '.repeat(20);
    const { text, code } = await onTerminal(
      ['chat', '--model', folder, '-n', '4', '--stats', '--prefill-chunk', '4'],
      [
        [PROMPT, '//etc\r'],
        [/turn 1[\s\S]*> $/, `${long}\r`],
        [/prefill \[/, '\x03'],
        [/taken back\)[\s\S]*> $/, `/save ${saved}\r`],
        [/2 messages\)[\s\S]*> $/, '/undo\r'],
        [/0 messages are left\)[\s\S]*> $/, '/again\r'],
        [/There is no message yet\.[\s\S]*> $/, '/exit\r'],
      ],
    );
    expect(code, text).toBe(0);
    const messages = JSON.parse(readFileSync(saved, 'utf8')) as { role: string; content: string }[];
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(messages[0]!.content).toBe('/etc');
  });

  it('lines that are pasted together are messages one after the other, and the last one waits to be finished', async () => {
    const { text, code } = await onTerminal(
      ['chat', '--model', talker(), '-n', '2', '--stats'],
      [
        [PROMPT, 'First.\rSecond.\rThi'],
        [/turn 2[\s\S]*> Thi$/, 'rd.\r'],
        [/turn 3[\s\S]*> $/, '/exit\r'],
      ],
    );
    expect(code, text).toBe(0);
  });

  it('Ctrl-C ends the answer to one message with 130', async () => {
    const args = ['chat', 'Good morning.', '--model', talker()];
    const { code } = await onTerminal(args, [[/\S/, '\x03']]);
    expect(code).toBe(130);
  });

  it('an error ends a turn, not the chat', async () => {
    const folder = talker();
    const template =
      "{% if messages[0].content == 'x' %}{{ raise_exception('No x.') }}{% endif %}{{ messages[0].content }}";
    writeFileSync(join(folder, 'chat_template.jinja'), template);
    const { text, code } = await onTerminal(
      ['chat', '--model', folder, '-n', '2', '--stats'],
      [
        [PROMPT, 'x\r'],
        [/No x\.[\s\S]*> $/, 'y\r'],
        [/turn 1[\s\S]*> $/, '\x04'],
      ],
    );
    expect(text).toContain('refuses this conversation: No x.');
    expect(code).toBe(0);
  });

  it('a long prompt has a bar, which is gone when its text comes, with the cursor as it was', async () => {
    const out = join(temporaryFolder(), 'golden.safetensors');
    const ids = Array.from({ length: 400 }, (_, i) => i + 2).join();
    const args = ['golden', fixture('austen-llama'), '--ids', ids, '--prefill-chunk', '8', '--out', out];
    const { text, code } = await onTerminal(args);
    expect(code).toBe(0);
    expect(text).toMatch(/tokens \[.*\] \d+% \| \d+ of 400/);
    expect(count(text, '\x1b[?25l')).toBeGreaterThan(0);
    expect(count(text, '\x1b[?25l')).toBe(count(text, '\x1b[?25h'));
    expect(text.trimEnd().split('\n').at(-1)).toContain(`${out}: logits [400, 1024]`);
  });

  it('Ctrl-C in the middle of a bar gives the cursor back', async () => {
    const ids = Array.from({ length: 500 }, (_, i) => i + 2).join();
    const args = ['generate', '--ids', ids, '-n', '4', '--prefill-chunk', '8'];
    const { text, code } = await onTerminal(args, [[/prefill \[/, '\x03']]);
    expect(code).toBe(130);
    expect(count(text, '\x1b[?25l')).toBe(count(text, '\x1b[?25h'));
  });

  it('a download has a bar, which stays while nothing comes, and Ctrl-C takes it away', async () => {
    const server = await HubServer.start();
    server.publish(NAME, repository());
    server.fail('model.safetensors', { kind: 'stall', at: 100_000 });
    const { text, code } = await onTerminal(['inspect', NAME], [[/1\d\d\.\d kB of/, '\x03']], user(server));
    expect(code).toBe(130);
    expect(text).toContain(`download ${NAME} [`);
    expect(count(text, '\x1b[?25l')).toBe(count(text, '\x1b[?25h'));
  });

  it('a model that takes a while to load has a bar', async () => {
    const { text, code } = await onTerminal(['inspect', large()]);
    expect(code).toBe(0);
    expect(text).toMatch(/load \[.*\] \d+% \| [\d.]+ MB of [\d.]+ MB/);
  });
});
