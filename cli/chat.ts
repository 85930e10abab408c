import { readFileSync } from 'node:fs';
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
  samplingOptions(
    command,
    "512, or what the context still holds; how they are drawn: as the checkpoint's generation_config.json says",
  );
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
  const template = templateFor(folder, flags.chatTemplate);
  const system = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
  const messages = [...system, ...earlier];
  const conversation = new Conversation(model, tokenizer, template, { messages, variables: flags.templateArg });
  const chat = new Chat(model, tokenizer, conversation, {
    seed: newSeed(),
    stop: template.file === 'dialogue' ? ['"'] : [],
    prefillChunk: flags.cache === 'none' ? undefined : 64,
    ...samplingOf(folder),
    ...flags, // wins over what is before it
    eosIds: eosIdsOf(folder),
    stream: true,
  });
  await converse(chat, message, system);
}

/** @throws TouchstoneError where there is none, since a guess would be wrong without a sign of it */
function templateFor(model: string, given: string | undefined): ChatTemplate {
  if (given === 'dialogue') return chatTemplate(DIALOGUE, templateTokens(model), given);
  if (given !== undefined) return chatTemplate(readTemplate(given), templateTokens(model), given);
  const own = loadChatTemplate(model);
  if (own) return own;
  if (model === embeddedModel()) return chatTemplate(DIALOGUE, templateTokens(model), 'dialogue');
  throw new TouchstoneError(
    `${model}: there is no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so this may be a base model; ` +
      'give one with --chat-template FILE, or --chat-template dialogue to let it continue a dialogue.',
  );
}

function readTemplate(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--chat-template: ${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

const messagesSchema = z.array(z.looseObject({ role: z.string(), content: z.string() })).min(1);

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
