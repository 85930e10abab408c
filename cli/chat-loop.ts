/** Where the messages of a chat come from: an argument, a terminal, or lines of standard input. */
import { createInterface } from 'node:readline';
import { RequestError, TouchstoneError, UsageError } from '../src/errors.js';
import { writeAtomically } from '../src/files.js';
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
  const asked = !['assistant', 'system', undefined].includes(messages.at(-1)?.role); // a user, or a tool
  if (message !== undefined && asked) {
    throw new UsageError(
      'The conversation of --messages ends with a question already; leave out the message, or the question.',
    );
  }
  if (message?.trim() === '') throw new UsageError('The message is empty; give at least one character.');
  if (message !== undefined) messages.push({ role: 'user', content: message });
  if (message !== undefined) {
    await chat.answer(new AbortController().signal); // Ctrl-C ends the command
    return;
  }
  if (asked) await answer(chat);
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

/** Ctrl-C ends a reply; without one under way it ends the chat, as it does where nobody is at a terminal. @returns as `Chat.answer` */
async function answer(chat: Chat): Promise<boolean> {
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  if (process.stdin.isTTY) process.on('SIGINT', interrupt);
  try {
    return await chat.answer(stop.signal);
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}

const HELP = `A line is a message; one that ends in \\ goes on in the next line, and one that begins with // is a message with one /.
Ctrl-C ends a reply, Ctrl-D the chat.
/again      another reply to the last message
/undo       take the last message and its reply back
/reset      begin a new conversation
/save FILE  write the conversation, for --messages FILE
/help       this list
/exit       end
`;

async function onTerminal(chat: Chat, beginning: readonly ChatMessage[]): Promise<void> {
  const { messages } = chat.conversation;
  tell('(/help lists what can be typed here beside messages)');
  const history: string[] = [];
  const ahead: TypedAhead = { lines: [], rest: '' };
  for (;;) {
    const line = await typed(history, ahead);
    if (line === null || line === '/exit') return;
    const before = [...messages];
    try {
      const asks = obey(chat, line, beginning);
      if (asks && !(await answer(chat))) {
        messages.splice(0, messages.length, ...before);
        tell('(nothing was said, and the message is taken back)');
      }
    } catch (error) {
      if (!(error instanceof TouchstoneError)) throw error; // an error ends a turn, not the chat
      messages.splice(0, messages.length, ...before);
      tell(`touchstone: ${error.message}`);
    }
  }
}

/** Does what a line says. @returns whether the conversation waits for an answer then */
function obey(chat: Chat, line: string, beginning: readonly ChatMessage[]): boolean {
  const { messages } = chat.conversation;
  const [command, argument] = line.split(/\s+(.*)/s);
  const last = messages.findLastIndex(({ role }) => role === 'user');
  if (line === '') return false;
  if (!line.startsWith('/') || line.startsWith('//')) {
    messages.push({ role: 'user', content: line.replace(/^\/\//, '/') });
    return true;
  }
  if (command === '/again' || command === '/undo') {
    if (last < 0) throw new RequestError('There is no message yet.');
    messages.splice(command === '/undo' ? last : last + 1);
    if (command === '/undo') tell(`(taken back; ${messages.length} messages are left)`);
    else if (chat.settings.temperature === 0) tell('(greedy: it will say the same; --temperature lets it vary)');
    return command === '/again';
  }
  if (command === '/reset') {
    messages.splice(0, messages.length, ...beginning);
    tell('(a new conversation)');
  } else if (command === '/save') save(messages, argument);
  else if (command === '/help') process.stderr.write(HELP);
  else throw new RequestError(`There is no ${command}; /help lists what there is, and // begins a message with one /.`);
  return false;
}

function save(messages: readonly ChatMessage[], file: string | undefined): void {
  if (!file) throw new RequestError('/save needs a file: /save conversation.json');
  writeAtomically(file, [Buffer.from(`${JSON.stringify(messages, null, 2)}\n`)]);
  tell(`(${file}: ${messages.length} messages)`);
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Lines that came while nobody waited for them, such as the rest of what was pasted; the last one is not finished. */
interface TypedAhead {
  readonly lines: string[];
  rest: string;
}

/** A message, of one line or more; null: the end. The terminal is this function's only as long as it waits. */
function typed(history: string[], ahead: TypedAhead): Promise<string | null> {
  return new Promise((resolve) => {
    const lines: string[] = [];
    const reader = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ', history });
    let found: string | null = null;
    const take = (line: string) => {
      if (found !== null) {
        ahead.lines.push(line);
        return;
      }
      lines.push(line.replace(/\\$/, ''));
      if (line.endsWith('\\')) {
        process.stderr.write('. ');
        return;
      }
      found = lines.join('\n').trim();
      setImmediate(() => {
        ahead.rest += reader.line;
        reader.close();
      });
    };
    reader.on('history', (kept: string[]) => history.splice(0, history.length, ...kept));
    reader.on('line', take);
    reader.on('SIGINT', () => {
      reader.close();
      process.exit(130);
    });
    reader.on('close', () => {
      if (found === null) process.stderr.write('\n'); // Ctrl-D: the shell goes on below
      resolve(found);
    });
    reader.prompt();
    for (const line of ahead.lines.splice(0)) {
      process.stderr.write(`${line}\n`);
      take(line);
    }
    if (found !== null) return;
    reader.write(ahead.rest);
    ahead.rest = '';
  });
}
