/** Where the messages of a chat come from: an argument, a terminal, or lines of standard input. */
import { createInterface } from 'node:readline';
import { TouchstoneError, UsageError } from '../src/errors.js';
import type { ChatMessage } from '../src/text/chat-template.js';
import type { Chat } from './chat-turn.js';

/**
 * Answers what the conversation ends with already, then each message in turn.
 * @param beginning what a conversation that begins anew has
 */
export async function converse(
  chat: Chat,
  message: string | undefined,
  beginning: readonly ChatMessage[],
): Promise<void> {
  const { messages } = chat.conversation;
  const asked = messages.at(-1)?.role === 'user';
  if (message !== undefined && asked) {
    throw new UsageError(
      'The conversation of --messages ends with a question already; leave out the message, or the question.',
    );
  }
  if (message !== undefined) messages.push({ role: 'user', content: message });
  if (message !== undefined || asked) await answer(chat);
  if (message !== undefined || (asked && !process.stdin.isTTY)) return;
  if (process.stdin.isTTY) await onTerminal(chat, beginning);
  else await fromLines(chat);
}

async function fromLines(chat: Chat): Promise<void> {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    chat.conversation.messages.push({ role: 'user', content: line });
    await answer(chat);
  }
}

/** Ctrl-C ends a reply; without one under way it ends the chat, as it does where nobody is at a terminal. */
async function answer(chat: Chat): Promise<void> {
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  if (process.stdin.isTTY) process.on('SIGINT', interrupt);
  try {
    await chat.answer(stop.signal);
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}

const HELP = `A line is a message; one that ends in \\ goes on in the next line. Ctrl-C ends a reply, Ctrl-D the chat.
/again   another reply to the last message
/undo    take the last message and its reply back
/reset   begin a new conversation
/help    this list
/exit    end
`;

async function onTerminal(chat: Chat, beginning: readonly ChatMessage[]): Promise<void> {
  const { conversation } = chat;
  const { messages } = conversation;
  process.stderr.write('(/help lists what can be typed here beside messages)\n');
  const history: string[] = [];
  for (;;) {
    const line = await typed(history);
    if (line === null || line === '/exit') return;
    if (line === '/help') process.stderr.write(HELP);
    else if (line === '/reset') conversation.reset(beginning);
    else if (line === '/undo') messages.splice(lastQuestion(messages));
    else if (line === '/again') messages.splice(lastQuestion(messages) + 1);
    else if (line.startsWith('/')) process.stderr.write(`There is no ${line}; /help lists what there is.\n`);
    else if (line !== '') messages.push({ role: 'user', content: line });
    if (messages.at(-1)?.role === 'user') await answerOrTell(chat);
  }
}

/** An error ends a turn, not the chat. */
async function answerOrTell(chat: Chat): Promise<void> {
  try {
    await answer(chat);
  } catch (error) {
    if (!(error instanceof TouchstoneError)) throw error;
    process.stderr.write(`touchstone: ${error.message}\n`);
    chat.conversation.messages.pop();
  }
}

/** The place of the last message of the user; the end where there is none. */
function lastQuestion(messages: readonly ChatMessage[]): number {
  const at = messages.findLastIndex(({ role }) => role === 'user');
  return at < 0 ? messages.length : at;
}

/** A message, of one line or more; null: the end. The terminal is this function's only as long as it waits. */
function typed(history: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const lines: string[] = [];
    const reader = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ', history });
    let found: string | null = null;
    reader.on('history', (kept: string[]) => history.splice(0, history.length, ...kept));
    reader.on('line', (line) => {
      lines.push(line.replace(/\\$/, ''));
      if (line.endsWith('\\')) {
        process.stderr.write('. ');
        return;
      }
      found = lines.join('\n').trim();
      reader.close();
    });
    reader.on('SIGINT', () => {
      process.stderr.write('\n');
      reader.close();
      process.exit(130);
    });
    reader.on('close', () => resolve(found));
    reader.prompt();
  });
}
