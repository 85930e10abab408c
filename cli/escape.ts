/** Text that others may have chosen (names in their files), as terminals and documents can hold it. */

/** Control characters as `\x1b`, which would break the line or drive the terminal, and marks that turn what is read around as `\u202e`. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) => {
    const code = character.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** As XML and HTML hold it, in texts and in attributes in double quotes. Control characters, which XML cannot hold, are left out. */
export function xmlEscaped(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/\p{Cc}/gu, '').replace(/[&<>"]/g, (character) => names[character]!);
}
