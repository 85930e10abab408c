/**
 * The byte-fallback decoder of SentencePiece-style tokenizers, as Hugging Face's `tokenizers` (Rust) does it. The JavaScript
 * library's own takes `<0x-1>` for a byte and drops U+FEFF.
 */

/** Rust reads a number with a plus sign too. */
const BYTE = /^<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>$/;

/** The byte that a byte token stands for, null for any other token. */
export function byteOf(token: string): number | null {
  const hex = BYTE.exec(token)?.[1];
  return hex === undefined ? null : Number.parseInt(hex, 16);
}

/** Tokens -> pieces of text: runs of byte tokens become the text they spell, or one U+FFFD a byte if that is not UTF-8. */
export function decodeByteFallback(tokens: readonly string[]): string[] {
  const pieces: string[] = [];
  let bytes: number[] = [];
  for (const token of [...tokens, null]) {
    const byte = token === null ? null : byteOf(token);
    if (byte !== null) {
      bytes.push(byte);
      continue;
    }
    if (bytes.length > 0) pieces.push(textOf(bytes));
    bytes = [];
    if (token !== null) pieces.push(token);
  }
  return pieces;
}

function textOf(bytes: readonly number[]): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return '\uFFFD'.repeat(bytes.length);
  }
}
