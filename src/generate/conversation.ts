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
  /** May be changed between turns: pushed to, taken back, written anew. */
  readonly messages: ChatMessage[];
  private pieces: Piece[] = [];
  private held: KvCache;
  private readonly model: Model;
  private readonly tokenizer: TextTokenizer;
  private readonly template: ChatTemplate;
  private readonly options: ChatOptions;
  private readonly eosIds: readonly number[];

  /**
   * @param given what the template is given (`ChatOptions`), the messages that the conversation begins with, and the tokens that end a reply beside special ones
   */
  constructor(
    model: Model,
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    given: ChatOptions & { readonly messages?: readonly ChatMessage[]; readonly eosIds?: readonly number[] } = {},
  ) {
    const { messages = [], eosIds = [], ...options } = given;
    this.model = model;
    this.tokenizer = tokenizer;
    this.template = template;
    this.messages = [...messages];
    this.options = options;
    this.eosIds = eosIds;
    this.held = model.components.newCache();
  }

  /** To be fed with the tokens of `prompt()`, which may put another in its place. */
  get cache(): KvCache {
    return this.held;
  }

  /** The conversation as the template wrote it for the last `prompt()`. */
  get text(): string {
    return this.pieces.map((piece) => piece.text).join('');
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
    const fresh = rest === '' ? [] : this.encodedAfter(ids.at(-1), rest, /\s$/.test(known.at(-1)?.text ?? ''));
    if (fresh) this.pieces = rest === '' ? known : [...known, { text: rest, ids: fresh }];
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
   * @param content their text, where it is not the whole of it: a stop text cut it short
   * @returns the text, without special tokens: what the tokens add to the prompt's, so that a space at their beginning is there
   */
  reply(ids: readonly number[], content?: string): string {
    const last = ids.at(-1) ?? -1;
    const ended = this.eosIds.includes(last) || this.tokenizer.isSpecial(last);
    const [inner, end] = ended ? [ids.slice(0, -1), this.tokenizer.tokenOf(last)!] : [ids, ''];
    const prompt = this.pieces.flatMap((piece) => [...piece.ids]);
    const { tokenizer } = this;
    const whole = tokenizer.decode([...prompt, ...inner]).slice(tokenizer.decode(prompt).length);
    const said = content ?? whole;
    this.messages.push({ role: 'assistant', content: said });
    // Tokens that are more than this text (a stop text, special tokens within) are no part of what the template will write.
    if (whole === said && !inner.some((id) => tokenizer.isSpecial(id))) this.pieces.push({ text: said + end, ids });
    return said;
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
   * A special token may take blanks before it (`lstrip`), so those must not be apart from it.
   * @param blank whether the text before ends in a blank
   */
  private encodedAfter(last: number | undefined, text: string, blank: boolean): number[] | null {
    const { tokenizer } = this;
    if (last === undefined) return null;
    const anchor = tokenizer.isSpecial(last) ? tokenizer.tokenOf(last)! : '';
    const ids = tokenizer.encode(anchor + text, { specialTokens: false });
    if (anchor !== '') return ids[0] === last ? ids.slice(1) : null;
    return !blank && ids[0] !== undefined && tokenizer.isSpecial(ids[0]) ? ids : null;
  }

  private goBackTo(prompt: readonly number[]): void {
    try {
      if (rewind(this.held, prompt, this.model.components.format.residual) > 0 || this.held.next === 0) return;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error; // a ring has forgotten what it would need
    }
    this.held.release();
    this.held = this.model.components.newCache();
  }
}

function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { text }) => sum + text.length, 0);
}
