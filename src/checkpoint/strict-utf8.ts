/**
 * Bytes -> text, without the two silent changes that decoders make: a byte-order mark is not dropped, and bytes that are no UTF-8 do not become
 * U+FFFD. Neither may stand in a JSON file (RFC 8259, section 8.1); Python's and Rust's readers refuse both.
 * @param what the text, for the message
 */
export function strictUtf8(bytes: Uint8Array, what: string, fail: (problem: string) => never): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail(`${what} is not valid UTF-8.`);
  }
  return text.startsWith('\uFEFF') ? fail(`${what} begins with a byte-order mark; write it without.`) : text;
}
