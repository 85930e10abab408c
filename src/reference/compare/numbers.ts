/** How the numbers of a comparison are written. */

/** Two figures: 1.2e-7, 0.034, 12, 1.2e6; also 0, NaN and Infinity. */
export function figures(value: number): string {
  const size = Math.abs(value);
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (size >= 0.00995 && size < 99.5) return String(Number(value.toPrecision(2)));
  if (size >= 99.5 && size < 9999.5) return String(Math.round(value));
  return value.toExponential(1).replace('e+', 'e');
}

/** Cosines near 1 by what they lack: 0.998012, 1-2.1e-9, 1. */
export function cosineText(cosine: number): string {
  const lacks = 1 - cosine;
  if (lacks > 0 && lacks < 5e-6) return `1-${figures(lacks)}`;
  return Number.isFinite(cosine) ? String(Number(cosine.toFixed(6))) : String(cosine);
}

/** Both with seven figures, or as many more as it takes to tell them apart. */
export function valueTexts(theirs: number, ours: number): [theirs: string, ours: string] {
  for (let digits = 7; digits < 17; digits++) {
    const texts = [valueText(theirs, digits), valueText(ours, digits)] as [string, string];
    if (texts[0] !== texts[1] || Object.is(theirs, ours)) return texts;
  }
  return [valueText(theirs, 17), valueText(ours, 17)];
}

function valueText(value: number, digits: number): string {
  return Object.is(value, -0) ? '-0' : String(Number(value.toPrecision(digits)));
}

/** Whole numbers as ranges: `0-3, 7`. Of many ranges the first ones, and how many more there are. @param numbers ascending */
export function rangesText(numbers: readonly number[], most = 6): string {
  const ranges: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const texts = ranges.slice(0, most).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  const left = ranges.slice(most).reduce((sum, [from, to]) => sum + to - from + 1, 0);
  return texts.join(', ') + (left > 0 ? ` and ${count(left)} more` : '');
}

export const count = (value: number) => value.toLocaleString('en-US');

/** `1 tensor`, `1,200 tensors`. */
export function plural(number: number, what: string): string {
  return `${count(number)} ${what}${number === 1 ? '' : 's'}`;
}
