/** GPT-2's way to write any bytes as text: a letter for each byte, printable ASCII and Latin-1 for itself (Radford et al. 2019). */

const PRINTABLE = /[!-~¡-¬®-ÿ]/;
const LETTERS: readonly string[] = lettersOfBytes();
const BYTES: ReadonlyMap<string, number> = new Map(LETTERS.map((letter, byte) => [letter, byte]));
const UTF8 = new TextEncoder();
// The native decoder replaces what is not UTF-8 as this one does, and keeps U+FEFF.
const LOSSY = new TextDecoder('utf-8', { ignoreBOM: true });

function lettersOfBytes(): string[] {
  let other = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const letter = String.fromCharCode(byte);
    return PRINTABLE.test(letter) ? letter : String.fromCharCode(other++);
  });
}

/** The UTF-8 bytes of a text, as letters. */
export function toLetters(text: string): string {
  let out = '';
  for (const byte of UTF8.encode(text)) out += LETTERS[byte];
  return out;
}

/**
 * Tokens -> the text that their letters' bytes spell; what is not UTF-8 becomes U+FFFD. A token with a character that is no byte's letter (an
 * added token with a space, for one) stands for itself, as in the native decoder; one without is read as bytes even if it was added.
 */
export function fromLetters(tokens: readonly string[]): string {
  const bytes: number[] = [];
  for (const token of tokens) {
    const read = Array.from(token, (letter) => BYTES.get(letter));
    for (const byte of read.includes(undefined) ? UTF8.encode(token) : (read as number[])) bytes.push(byte);
  }
  return LOSSY.decode(Uint8Array.from(bytes));
}
