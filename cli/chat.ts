import { existsSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { eosIdsOf, samplingOf } from '../src/checkpoint/folder.js';
import { readJson, validate } from '../src/checkpoint/json-file.js';
import { embeddedModel } from '../src/embedded.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { Conversation } from '../src/generate/conversation.js';
import {
  type ChatMessage,
  type ChatTemplate,
  chatTemplate,
  loadChatTemplate,
  readChatTemplate,
  templateTokens,
} from '../src/text/chat-template.js';
import { converse } from './chat-loop.js';
import { Chat } from './chat-turn.js';
import { load } from './load-model.js';
import { GROUPS, modelOption, newCommand } from './options.js';
import { type RunFlags, runOptions } from './run-options.js';
import { expectStops, newSeed, type SamplingFlags, samplingOptions } from './sampling-options.js';

interface Flags extends RunFlags, SamplingFlags {
  readonly model: string;
  readonly system?: string;
  readonly messages?: string;
  readonly chatTemplate?: string;
  readonly templateArg?: Readonly<Record<string, unknown>>;
  readonly json?: true;
  readonly stats?: true;
}

/** For a base model, which continues a dialogue: what each says stands in quotation marks, in a paragraph of its own. */
const DIALOGUE = `{{ bos_token }}{% for message in messages %}{{ '"' + message.content + '"\\n\\n' }}{% endfor %}{% if add_generation_prompt %}"{% endif %}`;

export function chatCommand(): Command {
  const command = newCommand('chat')
    .description('talk with a model, by its chat template; what earlier turns have computed is kept')
    .argument('[message]', 'answer this and end; else messages are read from standard input, a line each')
    .addOption(modelOption())
    .option('--system <text>', 'system message')
    .option('--messages <file>', 'begin with a conversation: a JSON array of {"role", "content"}')
    .option(
      '--chat-template <file>',
      "a Jinja template in place of the checkpoint's own, or dialogue: each message in quotation marks, for a base model",
    )
    .option(
      '--template-arg <name=value>',
      'a variable of the template, such as enable_thinking=false; the value is JSON, or else a text; repeatable',
      templateArgument,
    )
    .addHelpText(
      'after',
      `
Examples:
  touchstone chat --model Qwen/Qwen3-0.6B --system "Be brief." --template-arg enable_thinking=false
  touchstone chat "What is attention?" --model path/to/checkpoint --json
  touchstone chat --model path/to/checkpoint --messages conversation.json --stats`,
    )
    .optionsGroup(GROUPS.output)
    .option('--json', 'print one JSON object a turn: ids, text, counts, timings')
    .option('--stats', 'print tokens, cache rows and speed of each turn to standard error');
  samplingOptions(command, '512, or what the context still holds');
  return runOptions(command).action(run);
}

async function run(message: string | undefined, flags: Flags): Promise<void> {
  expectStops(flags);
  if (flags.messages !== undefined && flags.system !== undefined) {
    throw new UsageError(
      '--system: the conversation of --messages may hold a system message already; give one of them.',
    );
  }
  const earlier = flags.messages === undefined ? [] : readMessages(flags.messages);
  const { folder, model, tokenizer } = await load(flags.model, flags);
  if (!tokenizer) throw new TouchstoneError(`${folder}: there is no tokenizer.json, and a chat needs one.`);
  const template = templateFor(folder, flags);
  const system = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
  const messages = [...system, ...earlier];
  const conversation = new Conversation(model, tokenizer, template, {
    messages,
    variables: flags.templateArg,
    eosIds: eosIdsOf(folder),
  });
  const chat = new Chat(model, tokenizer, conversation, {
    ...samplingFor(folder, flags),
    maxNewTokens: flags.maxNewTokens,
    stop: flags.stop ?? (template.file === 'dialogue' ? ['"'] : []),
    prefillChunk: flags.prefillChunk ?? (flags.cache === 'none' ? undefined : 64),
    eosIds: eosIdsOf(folder),
    stream: true,
    ...(flags.json && { json: true }),
    ...(flags.stats && { stats: true }),
  });
  await converse(chat, message, system);
}

/** @throws TouchstoneError where there is none, since a guess would be wrong without a sign of it */
function templateFor(folder: string, { model, chatTemplate: given }: Flags): ChatTemplate {
  if (given === 'dialogue') return chatTemplate(DIALOGUE, templateTokens(folder), given);
  if (given !== undefined && !existsSync(given)) throw new UsageError(`--chat-template: there is no file ${given}.`);
  if (given !== undefined) return readChatTemplate(given, templateTokens(folder));
  const own = loadChatTemplate(folder);
  if (own) return own;
  if (model === embeddedModel()) return chatTemplate(DIALOGUE, templateTokens(folder), 'dialogue');
  throw new TouchstoneError(
    `${model}: there is no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so this may be a base model; ` +
      'give one with --chat-template FILE, or --chat-template dialogue to let it continue a dialogue.',
  );
}

/** As the flags say, else as the checkpoint's generation_config.json does. */
function samplingFor(folder: string, flags: Flags) {
  const own = samplingOf(folder);
  return {
    temperature: flags.temperature ?? own.temperature,
    topK: flags.topK ?? own.topK,
    topP: flags.topP ?? own.topP,
    minP: flags.minP ?? own.minP,
    repetitionPenalty: flags.repetitionPenalty ?? own.repetitionPenalty,
    seed: flags.seed ?? newSeed(),
  };
}

const content = z.union([z.string(), z.array(z.looseObject({}))], 'expected a text').nullish();
const messagesSchema = z
  .array(z.looseObject({ role: z.string('expected a text'), content }), 'expected a list of messages')
  .min(1, 'expected at least one message');

function readMessages(file: string): ChatMessage[] {
  return validate(messagesSchema, readJson(file), file);
}

function templateArgument(text: string, before: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || RESERVED.has(name)) {
    throw new InvalidArgumentError(
      'Expected NAME=VALUE, such as enable_thinking=false, with a name that Jinja has not taken.',
    );
  }
  try {
    return { ...before, [name]: JSON.parse(value!) };
  } catch {
    return { ...before, [name]: value };
  }
}

const RESERVED = new Set(
  'messages add_generation_prompt true false none True False None range namespace raise_exception strftime_now'.split(
    ' ',
  ),
);
