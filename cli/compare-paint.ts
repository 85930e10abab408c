/** Colours of verdicts on a terminal. */
import * as util from 'node:util';
import type { Verdict } from '../src/reference/compare/comparison.js';

/** Gives a text the colour of a verdict. */
export type Paint = (verdict: Verdict, text: string) => string;

const COLOURS = {
  identical: 'green',
  'within noise': 'green',
  suspicious: 'yellow',
  different: 'red',
} as const satisfies Record<Verdict, string>;

/** Node before 20.12 has no styleText, and texts stay plain. */
export function paintOf(color: boolean): Paint {
  if (!color || typeof util.styleText !== 'function') return (_, text) => text;
  return (verdict, text) => util.styleText(COLOURS[verdict], text, { validateStream: false });
}

/** Whether a stream shows colours: a terminal that has them, unless NO_COLOR, NODE_DISABLE_COLORS or TERM=dumb says otherwise. */
export function showsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && stream.hasColors();
}
