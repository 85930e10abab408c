import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyOf, editJson } from '../support/checkpoint.js';
import { output, touchstone } from '../support/cli.js';
import { temporaryFolder } from '../support/fixtures.js';

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('No critics.') }}{% endif %}" +
  "{{ (voice | default('')) + m.content + eos_token }}{% endfor %}";

function checkpoint(template: string | null = TEMPLATE): string {
  const folder = copyOf('austen-llama');
  if (template !== null) writeFileSync(join(folder, 'chat_template.jinja'), template);
  return folder;
}

interface Turn {
  readonly text: string;
  readonly prompt: string;
  readonly prompt_ids: number[];
  readonly ids: number[];
  readonly finish_reason: string;
  readonly seed: number;
  readonly stats: Record<string, number>;
}

const turns = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Turn);

describe('chat', () => {
  it('computes the keys and values of each token once, over ten turns, and says so', () => {
    const lines = Array.from({ length: 10 }, (_, i) => `Sir, this is question ${i}; what say you?`).join('\n');
    const args = ['chat', '--model', checkpoint(), '-n', '12', '--json', '--stats'];
    const { out, err, code } = touchstone(args, `${lines}\n`);
    expect(code, err).toBe(0);
    const found = turns(out);
    expect(found).toHaveLength(10);
    for (const [i, { stats, ids }] of found.entries()) {
      const tokens = stats.prompt_tokens! + stats.new_tokens!;
      expect(stats).toMatchObject({ turn: i + 1, new_tokens: ids.length, kv_rows_computed_in_all: tokens - 1 });
      expect(stats.kv_rows_computed).toBe(tokens - 1 - stats.reused_tokens!);
      if (i > 0) expect(stats.reused_tokens).toBe(found[i - 1]!.stats.kv_rows_computed_in_all);
    }
    const last = found.at(-1)!.stats;
    expect(err).toContain(
      `KV rows   ${last.kv_rows_computed} computed, ${last.kv_rows_computed_in_all} in all turns for ${last.prompt_tokens! + last.new_tokens!} tokens (a layer)`,
    );
  });

  it('prints each reply on a line, the same as with --json', () => {
    const args = ['chat', '--model', checkpoint(), '-n', '8'];
    const input = 'Good morning.\n\nAdieu.\n';
    expect(output(args, input)).toBe(
      turns(output([...args, '--json'], input))
        .map(({ text }) => `${text}\n`)
        .join(''),
    );
  });

  it('answers one message, after a system message, with variables of the template', () => {
    const args = [
      'chat',
      'Hello',
      '--model',
      checkpoint('{{ messages | tojson }}{{ a | tojson }}{{ b }}'),
      '-n',
      '1',
      '--json',
    ];
    const variables = ['--system', 'Be brief.', '--template-arg', 'a={"x":[1]}', '--template-arg', 'b=<x'];
    const [turn] = turns(output([...args, ...variables]));
    const text = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]{"x": [1]}<x';
    const ids = JSON.parse(output(['generate', '-n', '0', '--json', text])) as { prompt_ids: number[] };
    expect(turn!.prompt).toBe(text);
    expect(turn!.prompt_ids).toEqual(ids.prompt_ids.slice(1)); // no begin-of-text token: a template writes its own
  });

  it('begins with the conversation of a file, and answers what it ends with', () => {
    const folder = checkpoint();
    const file = join(temporaryFolder(), 'messages.json');
    const say = (role: string, content: string) => ({ role, content });
    const messages = [say('user', 'Good morning.'), say('assistant', 'Good.'), say('user', 'Adieu.')];
    writeFileSync(file, JSON.stringify(messages));
    const asked = output(['chat', '--model', folder, '--messages', file, '-n', '8']);
    writeFileSync(file, JSON.stringify(messages.slice(0, 2)));
    expect(output(['chat', 'Adieu.', '--model', folder, '--messages', file, '-n', '8'])).toBe(asked);
    expect(output(['chat', '--model', folder, '--messages', file, '-n', '8'], 'Adieu.\n')).toBe(asked);
  });

  it('lets the embedded base model continue a dialogue', () => {
    const [first, second] = turns(output(['chat', '--json', '--seed', '3'], 'How do you do?\nAnd your sister?\n'));
    expect([first!.text, second!.text].join('')).not.toContain('"');
    expect(first!.finish_reason).toBe('stop');
  });

  it('samples as generation_config.json says, unless told otherwise', () => {
    const folder = checkpoint();
    const args = ['chat', 'Good morning.', '--model', folder, '-n', '24'];
    const greedy = output(args);
    editJson(join(folder, 'generation_config.json'), (value) => ({ ...value, do_sample: true, temperature: 1.5 }));
    expect(output([...args, '--seed', '1'])).toBe(output([...args, '--seed', '1', '--top-k', '50']));
    expect(output([...args, '--seed', '1'])).not.toBe(greedy);
    expect(output([...args, '--temperature', '0'])).toBe(greedy);
  });

  it.each<[what: string, args: (folder: string) => string[], message: string | RegExp, code: number]>([
    [
      'a template that raises',
      (at) => ['--messages', join(at, 'critic.json')],
      /chat_template\.jinja: the chat template refuses this conversation: No critics\.$/,
      1,
    ],
    [
      'no such template',
      () => ['--chat-template', 'nowhere.jinja'],
      '--chat-template: there is no file nowhere.jinja.',
      2,
    ],
    ['an argument without a value', () => ['--template-arg', 'thinking'], 'Expected NAME=VALUE', 2],
    ['an argument with a name that is taken', () => ['--template-arg', 'messages=1'], 'Expected NAME=VALUE', 2],
    [
      'two system messages',
      (at) => ['--system', 'x', '--messages', join(at, 'critic.json')],
      '--system: the conversation',
      2,
    ],
    [
      'messages that are none',
      (at) => ['--messages', join(at, 'config.json')],
      /config\.json: the file = .* is not valid/,
      1,
    ],
    ['a negative temperature', () => ['--temperature', '-1'], /temperature/, 2],
    ['an empty stop text', () => ['--stop', ''], '--stop: expected a text', 2],
  ])('says what is wrong with %s', (_, args, message, code) => {
    const folder = checkpoint();
    writeFileSync(
      join(folder, 'critic.json'),
      JSON.stringify([
        { role: 'critic', content: 'Bad.' },
        { role: 'user', content: 'x' },
      ]),
    );
    const found = touchstone(['chat', '--model', folder, ...args(folder)], 'Hello\n');
    expect(found.err.trim()).toMatch(message);
    expect([found.code, found.out]).toEqual([code, '']);
    expect(found.err).not.toContain('    at ');
  });

  it('refuses a checkpoint without a template, and says what to do', () => {
    const { err, code } = touchstone(['chat', '--model', checkpoint(null)], 'Hello\n');
    expect(err).toContain('there is no chat template');
    expect(err).toContain('--chat-template dialogue');
    expect(code).toBe(1);
  });

  it('ends with one sentence where the context is full', () => {
    const line = `${'Good morning, my dear sister, said she. '.repeat(10)}\n`;
    const { err, code } = touchstone(['chat', '--model', checkpoint()], line.repeat(8));
    expect(err).toMatch(
      /^touchstone: The conversation has \d+ tokens, and the model's context holds 512: no room for a reply; say less, or begin a new one\.\n$/,
    );
    expect(code).toBe(1);
  });

  it('ends a reply with any token that ends one, which is not said, special or not', () => {
    const folder = checkpoint("{% for m in messages %}{{ m.content + '\n' }}{% endfor %}");
    const said = (eos?: number) => {
      if (eos !== undefined)
        editJson(join(folder, 'generation_config.json'), (value) => ({ ...value, eos_token_id: [1, eos] }));
      return turns(output(['chat', 'Good morning.', '--model', folder, '-n', '40', '--json']))[0]!;
    };
    const { ids } = said();
    const frequent = ids[7]!; // a token of the reply, of ordinary text
    const found = said(frequent);
    const at = ids.indexOf(frequent);
    expect(found.finish_reason).toBe('eos');
    expect(found.ids).toEqual(ids.slice(0, at + 1));
    const before = JSON.parse(output(['chat', 'Good morning.', '--model', folder, '-n', String(at), '--json'])) as Turn;
    expect(found.text).toBe(before.text);
  });

  it('draws each turn with another seed, and says which', () => {
    const args = [
      'chat',
      '--model',
      checkpoint(),
      '-n',
      '12',
      '--temperature',
      '1',
      '--seed',
      '7',
      '--json',
      '--stats',
    ];
    const { out, err } = touchstone(args, 'Good morning.\nGood morning.\n');
    expect(turns(out).map(({ seed }) => seed)).toEqual([7, 8]);
    expect(err).toMatch(/seed {6}7\n[\s\S]*seed {6}8\n/);
  });

  it('goes on with lines after a conversation that ended with a question', () => {
    const file = join(temporaryFolder(), 'messages.json');
    const call = { role: 'assistant', content: null, tool_calls: [{ function: { name: 'f', arguments: {} } }] };
    writeFileSync(file, JSON.stringify([{ role: 'user', content: 'x' }, call, { role: 'tool', content: 'y' }]));
    const folder = checkpoint("{% for m in messages %}{{ m.content or 'call' }}{{ eos_token }}{% endfor %}");
    const found = turns(output(['chat', '--model', folder, '--messages', file, '-n', '2', '--json'], 'And now?\n'));
    expect(found).toHaveLength(2);
    expect(found[0]!.prompt).toBe('x<|end_of_text|>call<|end_of_text|>y<|end_of_text|>');
  });

  it('leaves the files of the checkpoint alone', () => {
    const folder = checkpoint();
    const before = readFileSync(join(folder, 'tokenizer_config.json'));
    output(['chat', 'Hello', '--model', folder, '-n', '2']);
    expect(readFileSync(join(folder, 'tokenizer_config.json'))).toEqual(before);
  });
});
