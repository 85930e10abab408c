import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttentionCounter } from '../../attention/layer.js';
import { Conversation } from '../../src/generate/conversation.js';
import { generate } from '../../src/generate/generate.js';
import { loadModel } from '../../src/model/load.js';
import { chatTemplate } from '../../src/text/chat-template.js';
import { detokenizer } from '../../src/text/stream.js';
import type { TextTokenizer } from '../../src/text/tokenizer.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { fixture } from '../support/fixtures.js';
import { CORPUS, KINDS, tokenizerOf } from '../support/tokenizers.js';

const model = loadModel(fixture('austen-llama'));
const tokenizer = loadTokenizer(fixture('austen-llama'), model.config.vocabulary)!;
const END = '<|end_of_text|>';

/** Messages between special tokens; `content` is how the template writes one. */
const between = (content: string) =>
  chatTemplate(`{{ '<|begin_of_text|>' }}{% for m in messages %}{{ ${content} + '${END}' }}{% endfor %}`, {}, 'test');
const PLAIN = between('m.content');
const TRIMMED = between('(m.content | trim)');

/** Feeds the conversation and takes `length` greedy tokens as the reply. */
async function reply(conversation: Conversation, counter: AttentionCounter, length: number): Promise<number[]> {
  const prompt = conversation.prompt();
  const options = { maxNewTokens: length, eosIds: [1], counter };
  const text = detokenizer(tokenizer, prompt);
  const ids: number[] = [];
  let content = '';
  for await (const { id } of generate(model, prompt, conversation.cache, options)) {
    ids.push(id);
    content += text.push(id);
  }
  conversation.reply(ids, content + text.end());
  return ids;
}

describe('a conversation', () => {
  it('computes the keys and values of each token once, over ten turns', async () => {
    const [conversation, counter] = [new Conversation(model, tokenizer, PLAIN), new AttentionCounter()];
    for (let turn = 0; turn < 10; turn++) {
      conversation.messages.push({ role: 'user', content: `Sir, this is question ${turn}; what say you?` });
      await reply(conversation, counter, 12);
      expect(counter.computed / model.config.layers.length).toBe(conversation.cache.next);
    }
    expect(conversation.messages).toHaveLength(20);
    expect(conversation.cache.next).toBeGreaterThan(200);
  });

  it('feeds the tokens that the whole conversation has when it is encoded at once', async () => {
    for (const template of [PLAIN, TRIMMED]) {
      const [conversation, counter] = [new Conversation(model, tokenizer, template), new AttentionCounter()];
      for (let turn = 0; turn < 4; turn++) {
        conversation.messages.push({ role: 'user', content: ` How do you do, ${turn}? ` });
        await reply(conversation, counter, 9);
        const whole = tokenizer.encode(template.render(conversation.messages), { specialTokens: false });
        conversation.messages.push({ role: 'user', content: 'x' });
        const prompt = conversation.prompt();
        conversation.messages.pop();
        expect(prompt.slice(0, whole.length)).toEqual(whole);
      }
    }
  });

  it('goes on from the same logits as a new cache', async () => {
    const [conversation, counter] = [new Conversation(model, tokenizer, PLAIN), new AttentionCounter()];
    conversation.messages.push({ role: 'user', content: 'Good morning.' });
    await reply(conversation, counter, 8);
    conversation.messages.push({ role: 'user', content: 'Shall we walk?' });
    const prompt = conversation.prompt();
    const first = async (cache: Conversation['cache']) => {
      for await (const { logits_N } of generate(model, prompt, cache, { maxNewTokens: 1 })) return logits_N;
    };
    const expected = await first(model.components.newCache());
    expect(await first(conversation.cache)).toEqual(expected);
  });

  it('encodes anew what the template writes in another way, and goes back to what is the same', async () => {
    const [conversation, counter] = [new Conversation(model, tokenizer, TRIMMED), new AttentionCounter()];
    conversation.messages.push({ role: 'user', content: 'Good morning.' });
    const prompt = conversation.prompt();
    for await (const _ of generate(model, prompt, conversation.cache, { maxNewTokens: 1, counter }));
    const ids = tokenizer.encode('  a reply \n', { specialTokens: false });
    conversation.reply(ids, '  a reply \n');
    conversation.messages.push({ role: 'user', content: 'x' });
    const text = TRIMMED.render(conversation.messages);
    expect(text).toContain(`${END}a reply${END}x${END}`);
    expect(conversation.prompt()).toEqual(tokenizer.encode(text, { specialTokens: false }));
    expect(conversation.cache.next).toBe(prompt.length);
  });

  it('takes nothing of what a stop text cut off into the next prompt', () => {
    const conversation = new Conversation(model, tokenizer, PLAIN);
    conversation.messages.push({ role: 'user', content: 'Good morning.' });
    conversation.prompt();
    conversation.reply(tokenizer.encode('Good" said she', { specialTokens: false }), 'Good');
    conversation.messages.push({ role: 'user', content: 'x' });
    const whole = tokenizer.encode(PLAIN.render(conversation.messages), { specialTokens: false });
    expect(conversation.prompt()).toEqual(whole);
  });

  it('ends a reply with a token that is not special, where the model says so', () => {
    const dot = tokenizer.encode('.', { specialTokens: false })[0]!;
    const ended = chatTemplate("{% for m in messages %}{{ m.content + '.' }}{% endfor %}", {}, 'test');
    const conversation = new Conversation(model, tokenizer, ended, { eosIds: [dot] });
    conversation.messages.push({ role: 'user', content: 'Good morning' });
    conversation.prompt();
    expect(conversation.reply([...tokenizer.encode(' Adieu', { specialTokens: false }), dot])).toBe(' Adieu');
    conversation.messages.push({ role: 'user', content: 'x' });
    conversation.prompt();
    expect(conversation.text).toBe('Good morning. Adieu.x.');
  });

  it('has another reply to the last message, with all that is before it as it was', async () => {
    const conversation = new Conversation(model, tokenizer, PLAIN);
    conversation.messages.push({ role: 'user', content: 'Spell it.' });
    conversation.prompt();
    conversation.reply([...[...'the'].flatMap((letter) => tokenizer.encode(letter, { specialTokens: false })), 1]);
    conversation.messages.push({ role: 'user', content: 'Again.' });
    const prompt = conversation.prompt();
    for await (const _ of generate(model, prompt, conversation.cache, { maxNewTokens: 3 }));
    for (let again = 0; again < 3; again++) {
      expect(conversation.prompt()).toEqual(prompt);
      expect(conversation.cache.next).toBe(prompt.length - 1);
      conversation.reply(tokenizer.encode('x', { specialTokens: false }));
      conversation.messages.pop();
    }
  });

  it('begins with a new cache where the template changes the first token', async () => {
    const last = chatTemplate('{{ messages[-1].content }}', {}, 'test');
    const conversation = new Conversation(model, tokenizer, last);
    for (const content of ['Good morning.', 'How do you do?']) {
      conversation.messages.push({ role: 'user', content });
      const prompt = conversation.prompt();
      expect(conversation.cache.next).toBe(0);
      for await (const _ of generate(model, prompt, conversation.cache, { maxNewTokens: 2 }));
    }
  });

  it('goes back to a block of rows that are quantised, not to the beginning', async () => {
    const kvDtype = { dtype: 'int8', residual: 4 } as const;
    const own = loadModel(fixture('austen-llama'), { kvDtype });
    const conversation = new Conversation(own, tokenizer, TRIMMED);
    conversation.messages.push({ role: 'user', content: 'Good morning, my dear sister, said she.' });
    const prompt = conversation.prompt();
    const ids: number[] = [];
    for await (const { id } of generate(own, prompt, conversation.cache, { maxNewTokens: 9 })) ids.push(id);
    conversation.reply(ids, 'Adieu.');
    conversation.messages.push({ role: 'user', content: 'x' });
    conversation.prompt();
    expect(conversation.cache.next).toBeGreaterThan(prompt.length - 5);
    expect(conversation.cache.next).toBeLessThanOrEqual(prompt.length);
  });

  it('keeps the tokens of a reply as the model chose them', () => {
    const conversation = new Conversation(model, tokenizer, PLAIN);
    conversation.messages.push({ role: 'user', content: 'Spell it.' });
    const prompt = conversation.prompt();
    const spelt = [...'the'].flatMap((letter) => tokenizer.encode(letter, { specialTokens: false }));
    expect(spelt).not.toEqual(tokenizer.encode('the', { specialTokens: false }));
    conversation.reply([...spelt, 1], 'the');
    conversation.messages.push({ role: 'user', content: 'x' });
    expect(conversation.prompt().slice(prompt.length, prompt.length + spelt.length + 1)).toEqual([...spelt, 1]);
  });

  it.each(['none', 'ring', 'paged', 'prefix'] as const)('works with the cache %s', async (cache) => {
    const maxNewTokens = cache === 'none' ? 3 : 30;
    const ring = cache === 'ring' ? ({ visibility: { kind: 'sliding', window: 16 } } as const) : {};
    const own = loadModel(fixture('austen-llama'), { cache, ...ring });
    const conversation = new Conversation(own, tokenizer, TRIMMED);
    for (const content of ['Good morning.', 'How do you do?', 'Adieu.']) {
      conversation.messages.push({ role: 'user', content });
      const prompt = conversation.prompt();
      const ids: number[] = [];
      for await (const { id } of generate(own, prompt, conversation.cache, { maxNewTokens })) ids.push(id);
      const fresh: number[] = [];
      for await (const { id } of generate(own, prompt, own.components.newCache(), { maxNewTokens })) fresh.push(id);
      expect(ids).toEqual(fresh);
      conversation.reply(ids, ` ${tokenizer.decode(ids)} `); // trimmed: a ring has to begin anew
    }
  });

  test.prop(
    [
      fc.array(
        fc.record({
          ask: fc.string({ unit: 'grapheme' }),
          ids: fc.array(fc.integer({ min: 0, max: 1023 }), { maxLength: 6 }),
        }),
        { maxLength: 4 },
      ),
    ],
    { numRuns: 60 },
  )('has a prompt that decodes to what the template writes, whatever is said', (turns) => {
    const conversation = new Conversation(model, tokenizer, PLAIN);
    for (const { ask, ids } of turns) {
      conversation.messages.push({ role: 'user', content: ask });
      const prompt = conversation.prompt();
      expect(tokenizer.decode(prompt)).toBe(
        conversation.messages
          .map(({ content }) => tokenizer.decode(tokenizer.encode(content as string, { specialTokens: false })))
          .join(''),
      );
      const text = detokenizer(tokenizer, prompt);
      conversation.reply(ids, ids.map((id) => text.push(id)).join('') + text.end());
    }
  });

  const ends = (kind: TextTokenizer) =>
    [
      '<|im_end|>',
      '<|eot_id|>',
      '<|end|>',
      '<end_of_turn>',
      '</s>',
      '<eos>',
      '<|endoftext|>',
      '<｜end▁of▁sentence｜>',
      '<|end_of_text|>',
    ].find((token) => kind.isSpecial(kind.idOf(token) ?? -1));

  it.each(KINDS)('has the tokens of the whole, in the form of %s, whatever is said', (kind) => {
    const own = tokenizerOf(kind);
    const end = ends(own)!;
    expect(end).toBeDefined();
    const template = chatTemplate(
      `{% for m in messages %}{{ m.role + ':' + m.content + '${end}' }}{% endfor %}{{ 'assistant:' }}`,
      {},
      'test',
    );
    const whole = (text: string) => own.encode(text, { specialTokens: false });
    for (let i = 0; i < 120; i += 4) {
      const conversation = new Conversation(model, own, template);
      for (const [ask, answer] of [CORPUS.slice(i, i + 2), CORPUS.slice(i + 2, i + 4)] as [string, string][]) {
        conversation.messages.push({ role: 'user', content: ask });
        const text = template.render(conversation.messages);
        const prompt = conversation.prompt();
        expect(prompt, text).toEqual(whole(text));
        const spoken = whole(`${text} ${answer}${end}`); // as a model would say it
        if (spoken.slice(0, prompt.length).join() !== prompt.join()) break; // it begins within a token
        const ids = spoken.slice(prompt.length);
        conversation.reply(ids, own.decode(spoken).slice(own.decode(prompt).length));
      }
    }
  });
});
