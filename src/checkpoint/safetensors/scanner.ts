/** A strict reader of the little JSON that safetensors headers are made of: objects, strings, arrays of unsigned integers, and null. */
export class JsonScanner {
  private at = 0;
  private readonly text: string;
  private readonly fail: (problem: string) => never;

  constructor(text: string, fail: (problem: string) => never) {
    this.text = text;
    this.fail = fail;
  }

  /** Reads an object; `member` is called at each value, with its key, and must read the value. */
  object(what: string, member: (key: string) => void): void {
    this.expect('{', what, 'an object');
    if (this.skipTo() === '}') {
      this.at++;
      return;
    }
    for (;;) {
      const key = this.string(`a key of ${what}`);
      this.expect(':', what, `a colon after ${JSON.stringify(key)}`);
      member(key);
      if (this.skipTo() === '}') break;
      this.expect(',', what, 'a comma or a closing brace');
    }
    this.at++;
  }

  /** Reads `null`, if that is what comes. @returns whether it was */
  skipNull(): boolean {
    this.skipTo();
    if (!this.text.startsWith('null', this.at)) return false;
    this.at += 4;
    return true;
  }

  string(what: string): string {
    if (this.skipTo() !== '"') return this.unexpected(what, 'a string');
    const start = this.at++;
    while (this.at < this.text.length && this.text[this.at] !== '"') this.at += this.text[this.at] === '\\' ? 2 : 1;
    this.at++;
    const raw = this.text.slice(start, this.at);
    try {
      const value = JSON.parse(raw) as string; // of one string literal: strict about escapes and control characters
      if (!LONE_SURROGATE.test(value)) return value;
    } catch {
      return this.fail(`${what} is not a valid JSON string: ${raw.slice(0, 40)}.`);
    }
    return this.fail(`${what} has half of a surrogate pair: ${raw.slice(0, 40)}.`);
  }

  integers(what: string): bigint[] {
    this.expect('[', what, 'an array of whole numbers');
    const values: bigint[] = [];
    if (this.skipTo() === ']') {
      this.at++;
      return values;
    }
    for (;;) {
      values.push(this.integer(what));
      if (this.skipTo() === ']') break;
      this.expect(',', what, 'a comma or a closing bracket');
    }
    this.at++;
    return values;
  }

  /** Only padding may follow. */
  end(): void {
    if (this.skipTo() !== undefined) this.unexpected('the header', 'nothing but spaces after its object');
  }

  private integer(what: string): bigint {
    this.skipTo();
    INTEGER.lastIndex = this.at;
    const digits = INTEGER.exec(this.text)?.[0];
    if (digits === undefined) return this.unexpected(what, 'a whole number, written in digits alone');
    this.at += digits.length;
    const value = BigInt(digits);
    return value < 1n << 64n ? value : this.fail(`${what} has the number ${digits}, which does not fit 64 bits.`);
  }

  private expect(character: string, what: string, expected: string): void {
    if (this.skipTo() !== character) this.unexpected(what, expected);
    this.at++;
  }

  /** Skips white space; the character there, or undefined at the end. */
  private skipTo(): string | undefined {
    while (this.at < this.text.length && ' \t\n\r'.includes(this.text[this.at]!)) this.at++;
    return this.text[this.at];
  }

  private unexpected(what: string, expected: string): never {
    const rest = this.text.slice(this.at, this.at + 20);
    return this.fail(
      `${what}: expected ${expected}, got ${rest === '' ? 'the end of the header' : JSON.stringify(rest)}.`,
    );
  }
}

const LONE_SURROGATE = /\p{Surrogate}/u;
/** No sign, no leading zero, no fraction, no exponent. */
const INTEGER = /(?:0|[1-9][0-9]{0,30})(?![0-9.eE])/y;
