/**
 * The "precompiled" normalizer: SentencePiece's map of characters, as the native `tokenizers` applies it. (The library puts NFKC in its place.)
 *
 * The map is base64 of: the size of a trie in bytes (u32), the trie, and the replacements, each closed by a zero byte. The trie is a
 * double array of u32 units, in the form of darts-clone: bits 0-7 the byte that leads here, bit 8 whether a key ends here, bits 10-30 (times 256 if bit 9) the
 * offset to the children; bit 31 marks the value of a key, which is where its replacement begins.
 */
interface Charsmap {
  readonly units: Uint32Array;
  readonly texts: Uint8Array;
}

const UTF8 = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true });
/** Longer graphemes are not looked up whole. */
const MOST_BYTES = 5;

/** @throws RangeError if the map is cut short */
export function precompiled(base64: string): (text: string) => string {
  const map = parse(base64);
  const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  const known = new Map<string, string>();
  const replaced = (grapheme: string): string => {
    const whole = UTF8.encode(grapheme).length <= MOST_BYTES ? replacement(map, grapheme) : null;
    return whole ?? Array.from(grapheme, (char) => replacement(map, char) ?? char).join('');
  };
  return (text) => {
    let out = '';
    for (const { segment } of graphemes.segment(text)) {
      const found = known.get(segment) ?? replaced(segment);
      if (known.size < 10_000) known.set(segment, found);
      out += found;
    }
    return out;
  };
}

function parse(base64: string): Charsmap {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  const view = new DataView(bytes.buffer);
  const size = view.getUint32(0, true);
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  return { units, texts: bytes.subarray(4 + size) };
}

/** What the shortest key that a text begins with is replaced by (the whole text goes with it); null if there is none. */
function replacement({ units, texts }: Charsmap, text: string): string | null {
  let place = offset(units[0] ?? 0);
  for (const byte of UTF8.encode(text)) {
    if (byte === 0) break;
    place ^= byte;
    const unit = units[place] ?? 0;
    if ((unit & 0x800000ff) !== byte) return null;
    place ^= offset(unit);
    if (unit & 0x100) {
      const start = (units[place] ?? 0) & 0x7fffffff;
      return DECODER.decode(texts.subarray(start, texts.indexOf(0, start)));
    }
  }
  return null;
}

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
