/** A conversation as text, by the checkpoint's own chat template (Jinja), as transformers' `apply_chat_template` renders it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, validate } from '../checkpoint/json-file.js';
import { strictUtf8 } from '../checkpoint/strict-utf8.js';
import { CheckpointError, RequestError } from '../errors.js';
import { type JinjaProgram, parseJinja, RaisedByTemplate, renderJinja } from './jinja.js';

export interface ChatMessage {
  readonly role: string;
  /** A text; nothing, or parts, where a template knows of them (calls of tools, images). */
  readonly content?: string | null | readonly object[] | undefined;
  /** What a template reads beside these: `tool_calls`, `reasoning_content`, ... */
  readonly [member: string]: unknown;
}

/** What a template is given beside the messages. */
export interface ChatOptions {
  /** Ends with the beginning of a reply (default: true). */
  readonly addGenerationPrompt?: boolean | undefined;
  /** JSON schemas of functions that may be called. */
  readonly tools?: readonly object[] | undefined;
  readonly documents?: readonly object[] | undefined;
  /** The template's own: `enable_thinking`, `date_string`, ... */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}

export interface ChatTemplate {
  /** Where it was read. */
  readonly file: string;
  /** @throws RequestError if the template refuses the conversation, or cannot be rendered */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string;
}

/** Special tokens by the names that templates use. */
export type TemplateTokens = Readonly<Record<string, string>>;

const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]);
const named = z.array(z.looseObject({ name: z.string(), template: z.string() }));
const templateMember = z.looseObject({ chat_template: z.union([z.string(), named]).nullish() });
const CONFIG = 'tokenizer_config.json';

/**
 * The chat template of a checkpoint folder: chat_template.jinja, else `chat_template` of chat_template.json or tokenizer_config.json (of several, the one
 * named "default"). Null: it has none.
 * @throws CheckpointError naming the file if it is malformed
 */
export function loadChatTemplate(folder: string): ChatTemplate | null {
  const tokens = templateTokens(folder);
  const file = join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readChatTemplate(file, tokens);
  for (const name of ['chat_template.json', CONFIG]) {
    const place = join(folder, name);
    if (!existsSync(place)) continue;
    const { chat_template: found } = validate(templateMember, readJson(place), place);
    if (typeof found === 'string') return chatTemplate(found, tokens, place);
    const chosen = found?.find((one) => one.name === 'default');
    if (chosen) return chatTemplate(chosen.template, tokens, place);
    if (found?.length) {
      const names = found.map((one) => one.name).join(', ');
      throw new CheckpointError(`${place}: chat_template has no template named default, but ${names}.`);
    }
  }
  return null;
}

/** bos_token, eos_token, ... as special_tokens_map.json and tokenizer_config.json (which wins) name them. */
export function templateTokens(folder: string): TemplateTokens {
  const found: Record<string, string> = {};
  for (const name of ['special_tokens_map.json', CONFIG]) {
    const file = join(folder, name);
    if (!existsSync(file)) continue;
    const members = validate(z.looseObject({}), readJson(file), file);
    for (const [key, value] of Object.entries(members)) {
      const text = key.endsWith('_token') ? token.safeParse(value) : undefined;
      if (text?.success) found[key] = text.data;
    }
  }
  return found;
}

/** A template from a file of its own. @throws CheckpointError if it cannot be read, or is no template */
export function readChatTemplate(file: string, tokens: TemplateTokens): ChatTemplate {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${file}: ${problem}`);
  };
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return fail(`cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  return chatTemplate(strictUtf8(bytes, 'the chat template', fail), tokens, file);
}

/** A template from its source. @throws CheckpointError if it is not a Jinja template that can be read */
export function chatTemplate(source: string, tokens: TemplateTokens, file: string): ChatTemplate {
  const program = parsed(source, file);
  return {
    file,
    render(messages, { addGenerationPrompt = true, tools, documents, variables } = {}) {
      if (messages.length === 0) throw new RequestError('A conversation needs at least one message.');
      const context = { ...tokens, tools: tools ?? null, documents: documents ?? null, ...variables };
      const given = { ...context, messages: messages.map(withoutNulls), add_generation_prompt: addGenerationPrompt };
      try {
        return renderJinja(program, given);
      } catch (error) {
        throw new RequestError(`${file}: ${refusal(error as Error)}`);
      }
    },
  };
}

function parsed(source: string, file: string): JinjaProgram {
  try {
    return parseJinja(source);
  } catch (error) {
    throw new CheckpointError(`${file}: the chat template is not valid Jinja: ${sentence(error as Error)}`);
  }
}

function refusal(error: Error): string {
  if (error instanceof RaisedByTemplate) return `the chat template refuses this conversation: ${sentence(error)}`;
  return `the chat template cannot render this conversation: ${sentence(error)}`;
}

/** The engine's words, where they are words. */
function sentence({ message }: Error): string {
  if (message.startsWith('Cannot read properties')) return 'a value that it uses is not there.';
  const line = message.replace(/\s+/g, ' ').slice(0, 200);
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

/** As transformers does: a member that is None is no member. */
function withoutNulls(message: ChatMessage): object {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null && value !== undefined));
}
