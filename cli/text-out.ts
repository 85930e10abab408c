import { detokenizer, stopFilter, type TextStream } from '../src/text/stream.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';

export interface TextFlags {
  readonly stop?: readonly string[];
  readonly echo?: true;
  readonly json?: true;
  readonly stream: boolean;
}

/** Turns tokens into text, up to a stop text, and prints it when it is time. */
export class TextOut {
  whole = '';
  private readonly pieces: TextStream<number>;
  private readonly stops: ReturnType<typeof stopFilter>;
  private readonly flags: TextFlags;

  constructor(tokenizer: TextTokenizer | null, prompt: number[], flags: TextFlags) {
    this.flags = flags;
    // Without a tokenizer, the ids themselves are the text.
    this.pieces = tokenizer ? detokenizer(tokenizer, prompt) : { push: (id) => `${id} `, end: () => '' };
    this.stops = stopFilter(flags.stop ?? []);
    if (flags.echo) process.stdout.write(tokenizer ? tokenizer.decode(prompt) : `${prompt.join(' ')} `);
  }

  /** Whether a stop text has been met. */
  push(id: number): boolean {
    this.take(this.stops.push(this.pieces.push(id)));
    return this.stops.hit !== null;
  }

  /** Lets out what was held back. Whether a stop text has been met. */
  end(): boolean {
    if (this.stops.hit === null) this.take(this.stops.push(this.pieces.end()));
    if (this.stops.hit === null) this.take(this.stops.end());
    if (!this.flags.json) process.stdout.write(this.flags.stream ? '\n' : `${this.whole}\n`);
    return this.stops.hit !== null;
  }

  /** Keeps an error that follows from standing in the middle of a line. */
  endLine(): void {
    if (this.whole !== '' && this.flags.stream && !this.flags.json) process.stdout.write('\n');
  }

  private take(text: string): void {
    this.whole += text;
    if (text !== '' && this.flags.stream && !this.flags.json) process.stdout.write(text);
  }
}
