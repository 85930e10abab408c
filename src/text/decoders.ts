/** How tokens become text, step by step as the native `tokenizers` does it. */
import { decodeByteFallback } from './byte-fallback.js';
import { fromLetters } from './byte-level.js';
import { library } from './library.js';
import { patternOf } from './patterns.js';
import type { DecoderJson } from './tokenizer-json.js';

/** Pieces of text -> pieces of text. */
export type Decode = (pieces: string[]) => string[];

/** @throws SyntaxError for a pattern that JavaScript cannot say */
export function decoder(json: DecoderJson | null): Decode {
  if (json === null) return (pieces) => [pieces.join(' ')];
  switch (json.type) {
    case 'Sequence': {
      const steps = json.decoders.map(decoder);
      return (pieces) => steps.reduce((done, step) => step(done), pieces);
    }
    case 'ByteLevel':
      return (pieces) => [fromLetters(pieces)];
    case 'ByteFallback':
      return decodeByteFallback;
    case 'Fuse':
      return (pieces) => [pieces.join('')];
    case 'Metaspace':
      return metaspace(json);
    case 'Replace': {
      const pattern = patternOf(json.pattern);
      return (pieces) => pieces.map((piece) => piece.replace(pattern, () => json.content));
    }
    case 'Strip':
      return (pieces) => pieces.map((piece) => strip(piece, json));
    case 'BPEDecoder': {
      const suffix = json.suffix ?? '</w>';
      return (pieces) => pieces.map((piece, i) => piece.replaceAll(suffix, i === pieces.length - 1 ? '' : ' '));
    }
    case 'WordPiece': {
      const wordPiece = new library.WordPieceDecoder({ prefix: '##', cleanup: true, ...json });
      return (pieces) => wordPiece.decode_chain(pieces);
    }
    default:
      return json satisfies never;
  }
}

/** The marks of the first piece are dropped, all of them, unless no space is put before a text. */
function metaspace(json: DecoderJson & { type: 'Metaspace' }): Decode {
  const mark = json.replacement ?? '▁';
  const scheme = json.prepend_scheme ?? (json.add_prefix_space === false ? 'never' : 'always');
  return (pieces) => pieces.map((piece, i) => piece.replaceAll(mark, i === 0 && scheme !== 'never' ? '' : ' '));
}

/** Up to `start` and `stop` times `content`, one character, off the ends. */
function strip(piece: string, { content, start, stop }: DecoderJson & { type: 'Strip' }): string {
  const chars = [...piece];
  let [first, last] = [0, chars.length];
  while (first < Math.min(start, chars.length) && chars[first] === content) first++;
  while (chars.length - last < stop && last > first && chars[last - 1] === content) last--;
  return chars.slice(first, last).join('');
}

/** Whether runs of byte tokens are read as a whole. */
export function fallsBack(json: DecoderJson | null): boolean {
  if (json?.type === 'Sequence') return json.decoders.some(fallsBack);
  return json?.type === 'ByteFallback';
}
