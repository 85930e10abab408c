/**
 * The byte-fallback decoder of SentencePiece-style tokenizers, as Hugging Face's `tokenizers` (Rust) does it. The JavaScript
 * library's own takes `<0x-1>` for a byte and drops U+FEFF.
 */

const BYTE = /^<0x([0-9A-Fa-f]{2})>$/;

/** Tokens -> pieces of text: runs of byte tokens become the text they spell, or one U+FFFD a byte if that is not UTF-8. */
export function decodeByteFallback(tokens: readonly string[]): string[] {
  const pieces: string[] = [];
  let bytes: number[] = [];
  for (const token of [...tokens, null]) {
    const hex = token === null ? undefined : BYTE.exec(token)?.[1];
    if (hex !== undefined) {
      bytes.push(Number.parseInt(hex, 16));
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
