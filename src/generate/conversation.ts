/** A conversation with a model: messages as its chat template writes them, fed to one cache, so that what was computed in earlier turns is not computed again. */

import type { KvCache } from '../../attention/cache/cache.js';
import { RequestError } from '../errors.js';
import type { Model } from '../model/load.js';
import type { ChatMessage, ChatOptions, ChatTemplate } from '../text/chat-template.js';
import type { TextTokenizer } from '../text/tokenizer.js';
import { rewind } from './rewind.js';

/** Text of the conversation as the template writes it, and the tokens that were fed or generated for it. */
interface Piece {
  readonly text: string;
  readonly ids: readonly number[];
}

/**
 * What the model wrote stays in the tokens in which it wrote it, as long as the template repeats its text; where it writes the past in another way (blanks
 * trimmed, thoughts left out), the text is encoded anew, as transformers' `apply_chat_template` does in every turn, and the cache goes back to what is still the same.
 */
export class Conversation {
  readonly messages: ChatMessage[];
  /** Of the model; its tokens are those of `prompt()`, once these are fed. */
  cache: KvCache;
  private pieces: Piece[] = [];
  private readonly model: Model;
  private readonly tokenizer: TextTokenizer;
  private readonly template: ChatTemplate;
  private readonly options: ChatOptions;

  constructor(
    model: Model,
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    { messages = [], ...options }: ChatOptions & { messages?: readonly ChatMessage[] } = {},
  ) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.template = template;
    this.messages = [...messages];
    this.options = options;
    this.cache = model.components.newCache();
  }

  /**
   * The tokens of the conversation up to where a reply begins. The cache goes back to what it shares with them: `generate(model, prompt, cache, ...)` feeds
   * the rest.
   * @throws RequestError if the template refuses the conversation
   */
  prompt(): number[] {
    const text = this.template.render(this.messages, this.options);
    const known = this.knownBeginning(text);
    const ids = known.flatMap((piece) => [...piece.ids]);
    const rest = text.slice(lengthOf(known));
    const fresh = this.encodedAfter(ids.at(-1), rest);
    if (fresh) this.pieces = [...known, { text: rest, ids: fresh }];
    else this.pieces = [{ text, ids: this.tokenizer.encode(text, { specialTokens: false }) }];
    const prompt = this.pieces.flatMap((piece) => [...piece.ids]);
    if (prompt.length === 0)
      throw new RequestError(`${this.template.file}: the chat template makes no tokens of this conversation.`);
    this.goBackTo(prompt);
    return prompt;
  }

  /**
   * Makes a reply part of the conversation.
   * @param ids as generated after `prompt()`, an end-of-sequence token included
   * @param content their text, without special tokens; a beginning of it where a stop text cut it short
   */
  reply(ids: readonly number[], content: string): void {
    this.messages.push({ role: 'assistant', content });
    const ended = this.tokenizer.isSpecial(ids.at(-1) ?? -1);
    const [inner, end] = ended ? [ids.slice(0, -1), this.tokenizer.tokenOf(ids.at(-1)!)!] : [ids, ''];
    const prompt = this.pieces.flatMap((piece) => [...piece.ids]);
    const { tokenizer } = this;
    const written = tokenizer.decode([...prompt, ...inner]).slice(tokenizer.decode(prompt).length);
    // Tokens that are more than this text (a stop text, special tokens within) are no part of what the template will write.
    if (written === content && !inner.some((id) => tokenizer.isSpecial(id)))
      this.pieces.push({ text: content + end, ids });
  }

  /** Begins anew. */
  reset(messages: readonly ChatMessage[] = []): void {
    this.messages.splice(0, this.messages.length, ...messages);
    this.pieces = [];
  }

  /** The longest run of whole pieces that a text begins with. */
  private knownBeginning(text: string): Piece[] {
    let at = 0;
    const end = this.pieces.findIndex((piece) => {
      if (!text.startsWith(piece.text, at)) return true;
      at += piece.text.length;
      return false;
    });
    return end < 0 ? this.pieces : this.pieces.slice(0, end);
  }

  /**
   * The tokens of a text that goes on after a token; null where it must be encoded together with what is before it. At a special token, such as one that ends a
   * turn, tokenizers cut every text, so what follows can be encoded by itself: behind that token, since some treat the beginning of a text in their own way.
   */
  private encodedAfter(last: number | undefined, text: string): number[] | null {
    const { tokenizer } = this;
    if (last === undefined) return null;
    const anchor = tokenizer.isSpecial(last) ? tokenizer.tokenOf(last)! : '';
    const ids = tokenizer.encode(anchor + text, { specialTokens: false });
    if (anchor !== '') return ids[0] === last ? ids.slice(1) : null;
    return ids[0] !== undefined && tokenizer.isSpecial(ids[0]) ? ids : null;
  }

  private goBackTo(prompt: readonly number[]): void {
    try {
      if (rewind(this.cache, prompt, this.model.components.format.residual) > 0 || this.cache.next === 0) return;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error; // a ring has forgotten what it would need
    }
    this.cache.release();
    this.cache = this.model.components.newCache();
  }
}

function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { text }) => sum + text.length, 0);
}
