import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError, RequestError } from '../../src/errors.js';
import { type ChatMessage, chatTemplate, loadChatTemplate, templateTokens } from '../../src/text/chat-template.js';
import { strftime } from '../../src/text/jinja.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

interface Conversation {
  readonly messages: readonly ChatMessage[];
  readonly add_generation_prompt?: boolean;
  readonly tools?: object[];
  readonly documents?: object[];
  readonly [variable: string]: unknown;
}

interface RecordedTemplate {
  readonly template: string;
  readonly tokens: Readonly<Record<string, string>>;
  /** What jinja2 made of each conversation, or what the template said when it refused it. */
  readonly rendered: Readonly<Record<string, { text: string } | { raises: string }>>;
}

const { conversations, templates } = JSON.parse(readFileSync(fixture('chat.json'), 'utf8')) as {
  conversations: Readonly<Record<string, Conversation>>;
  templates: Readonly<Record<string, RecordedTemplate>>;
};

describe.each(Object.entries(templates))('the chat template of %s', (name, { template, tokens, rendered }) => {
  const read = chatTemplate(template, tokens, name);

  it.each(Object.entries(rendered))('renders as jinja2 does: %s', (conversation, expected) => {
    const { messages, tools, documents, add_generation_prompt, ...variables } = conversations[conversation]!;
    const options = { tools, documents, addGenerationPrompt: add_generation_prompt, variables };
    if ('text' in expected) expect(read.render(messages, options)).toBe(expected.text);
    else {
      const refusal = `${name}: the chat template refuses this conversation: ${expected.raises}`;
      expect(() => read.render(messages, options)).toThrow(RequestError);
      expect(() => read.render(messages, options)).toThrow(refusal);
    }
  });
});

it('covers thirteen templates, and each conversation with each of them', () => {
  expect(Object.keys(templates)).toHaveLength(13);
  for (const { rendered } of Object.values(templates)) {
    expect(Object.keys(rendered)).toEqual(Object.keys(conversations));
  }
});

describe('a template', () => {
  const render = (source: string, variables: Record<string, unknown> = {}) =>
    chatTemplate(source, {}, 'x.jinja').render([{ role: 'user', content: 'Hi' }], { variables });

  // Each expectation is what Python's jinja2 gives.
  it.each([
    ['{{ none }}|{{ missing }}|{{ true }}|{{ 1.0 }}', 'None||True|1.0'],
    ["{{ [1, none, 'a', \"it's\", 'x\\n'] }}", "[1, None, 'a', \"it's\", 'x\\n']"],
    ["{{ {'a': true, 'b': [2.5]} }}", "{'a': True, 'b': [2.5]}"],
    ["{{ 'a' ~ none ~ 1 ~ false }}", 'aNone1False'],
    ["{{ 'xxaxx'.strip('x') }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'xxaxx'.rstrip('x') }}", 'a|axx|xxa'],
    ["{{ '\\n a \\n'.lstrip('\\n') }}|", ' a \n|'],
    ['{{ mark.strip() | length }}{{ mark | trim | length }}{{ next.strip() | length }}', '110'],
    ["{{ '😀😀' | length }}{{ missing | length }}", '20'],
    ['{{ "o\'neill on-the (sea)" | title }}', "O'neill On-The (Sea)"],
    ['{% for x in missing %}x{% else %}none{% endfor %}', 'none'],
    ['{% for x in missing if x %}x{% endfor %}|', '|'],
    ['{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}', '012531'],
    ['{{ missing == none }}{{ none == none }}{{ messages[0].x == none }}{{ missing != none }}', 'FalseTrueFalseTrue'],
    [
      "{{ ['a'] == ['a'] }}{{ [] == [] }}{{ ['a'] == ['b'] }}{{ {'a': [1]} == {'a': [1]} }}{{ 1 == 1.0 }}{{ 1 == true }}{{ 1 == '1' }}",
      'TrueTrueFalseTrueTrueTrueFalse',
    ],
    ["{{ 'éCOLE' | capitalize }}{{ 'éCOLE x'.capitalize() }}", 'ÉcoleÉcole x'],
    ['{% for m in messages %}\r\n{{ m.content }}\r\n{% endfor %}\r\n', 'Hi\n'],
    ['{{ (1 | string) + (true | string) + (none | string) }}', '1TrueNone'],
    ['{%- generation %}a{%- endgeneration -%} b', 'ab'],
  ])('%s', (source, expected) => {
    expect(render(source, { mark: '\uFEFF', next: '\u0085' })).toBe(expected);
  });

  it('tells the date in English, whatever the machine speaks', () => {
    const date = new Date(2024, 6, 4, 15, 5, 9);
    expect(strftime(date, '%d %b %Y|%B %-d, %y|%A %a|%I:%M:%S %p %H|%m|%e|%j|%%')).toBe(
      '04 Jul 2024|July 4, 24|Thursday Thu|03:05:09 PM 15|07| 4|186|%',
    );
    expect(() => strftime(date, '%Q')).toThrow('strftime_now does not know %Q');
    expect(render("{{ strftime_now('%Y') }}")).toBe(String(new Date().getFullYear()));
  });

  it('leaves out members of a message that are null, as transformers does', () => {
    const message = { role: 'user', content: 'Hi', tool_calls: null };
    expect(chatTemplate('{{ messages[0].tool_calls is defined }}', {}, 'x').render([message])).toBe('False');
  });

  it.each([
    ['{% if x %}', 'x.jinja: the chat template is not valid Jinja: '],
    ['{{ 1 | nonsense }}', 'x.jinja: the chat template cannot render this conversation: '],
    ['{% for i in range(100001) %}{% endfor %}', 'a range has 100001 numbers, and may have 100000.'],
    ['{{ range(1, 2, 0) | length }}', 'range goes on by 0.'],
    ['{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}', 'more than 1000000 times.'],
    ['{{ [] | first }}', 'a value that it uses is not there.'],
    ['{{ none | length }}', 'Null has no length.'],
  ])('that is wrong is refused with its file: %s', (source, message) => {
    expect(() => render(source)).toThrow(message);
  });

  it('is refused without messages', () => {
    expect(() => chatTemplate('x', {}, 'x').render([])).toThrow('A conversation needs at least one message.');
  });
});

describe('the template of a checkpoint', () => {
  const folder = (files: Readonly<Record<string, unknown>>) => {
    const place = temporaryFolder();
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(place, name), typeof content === 'string' ? content : JSON.stringify(content));
    }
    return place;
  };
  const rendered = (place: string) => loadChatTemplate(place)?.render([{ role: 'user', content: 'Hi' }]);

  it('is chat_template.jinja, else what chat_template.json or tokenizer_config.json says', () => {
    const config = { 'tokenizer_config.json': { chat_template: 'config', bos_token: '<s>' } };
    expect(rendered(folder({}))).toBeUndefined();
    expect(rendered(folder(config))).toBe('config');
    const json = { ...config, 'chat_template.json': { chat_template: 'json{{ bos_token }}' } };
    expect(rendered(folder(json))).toBe('json<s>');
    expect(rendered(folder({ ...json, 'chat_template.jinja': 'jinja' }))).toBe('jinja');
  });

  it('is the default one of several', () => {
    const named = (...names: string[]) => ({
      'tokenizer_config.json': { chat_template: names.map((name) => ({ name, template: `of ${name}` })) },
    });
    expect(rendered(folder(named('tool_use', 'default')))).toBe('of default');
    expect(() => rendered(folder(named('tool_use', 'rag')))).toThrow(
      /tokenizer_config\.json: chat_template has no template named default, but tool_use, rag\./,
    );
  });

  it('knows the special tokens, as texts or objects', () => {
    const place = folder({
      'special_tokens_map.json': { bos_token: '<old>', unk_token: { content: '<unk>' } },
      'tokenizer_config.json': { bos_token: { content: '<s>', lstrip: false }, pad_token: null, add_bos_token: true },
    });
    expect(templateTokens(place)).toEqual({ bos_token: '<s>', unk_token: '<unk>' });
  });

  it('is refused where it is malformed', () => {
    const place = folder({ 'tokenizer_config.json': { chat_template: 5 } });
    expect(() => rendered(place)).toThrow(CheckpointError);
    expect(() => rendered(place)).toThrow(/tokenizer_config\.json: the key chat_template = 5 is not valid/);
  });
});
