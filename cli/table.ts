/** Tables and bars in plain text. */

export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** A Markdown table whose columns are aligned, so that it reads well where it is not rendered. */
export function markdownTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, c) => Math.max(3, title.length, ...rows.map((row) => row[c]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  const padded = (row: readonly string[]) =>
    columns.map(({ align }, c) => (align === 'left' ? row[c]!.padEnd(widths[c]!) : row[c]!.padStart(widths[c]!)));
  const rule = columns.map(({ align }, c) =>
    align === 'left' ? '-'.repeat(widths[c]!) : `${'-'.repeat(widths[c]! - 1)}:`,
  );
  return [padded(columns.map(({ title }) => title)), rule, ...rows.map(padded)].map(line).join('');
}

interface Bar {
  readonly label: string;
  /** At least 1. */
  readonly value: number;
  /** How the value is written. */
  readonly text: string;
}

export interface Chart {
  readonly bars: readonly Bar[];
  /** How 10^exponent is written on the axis. */
  readonly powerText: (exponent: number) => string;
  /** A value that is marked in every bar; null: none. */
  readonly mark: number | null;
  /** Characters a line. */
  readonly width: number;
}

/** One horizontal bar a line on a logarithmic scale, which begins and ends with powers of ten. */
export function logChart({ bars, powerText, mark, width }: Chart): string {
  const labels = Math.max(...bars.map(({ label }) => label.length)) + 1;
  const room = width - labels - Math.max(...bars.map(({ text }) => text.length)) - 3;
  const logs = [...bars.map(({ value }) => value), ...(mark === null ? [] : [mark])].map(Math.log10);
  const low = Math.max(Math.ceil(Math.min(...logs)) - 1, 0); // below the least, so that every bar has a length
  const high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const placeOf = (log: number) => ((log - low) / (high - low)) * room;
  const at = mark === null ? -1 : Math.round(placeOf(Math.log10(mark)));
  const lines = bars.map(({ label, value, text }) => {
    return `${label.padEnd(labels)}│${marked(barOf(placeOf(Math.log10(value))).padEnd(room + 1), at)} ${text}\n`;
  });
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => ({
    place: Math.round(placeOf(low + i)),
    text: powerText(low + i),
  }));
  return `${lines.join('')}${axisOf(ticks, ' '.repeat(labels))}`;
}

/** A bar of this many characters, to an eighth of one. */
function barOf(length: number): string {
  const eighths = Math.round(length * 8);
  return '█'.repeat(Math.floor(eighths / 8)) + ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]!;
}

function marked(bar: string, at: number): string {
  return at < 0 ? bar : `${bar.slice(0, at)}┊${bar.slice(at + 1)}`;
}

/** The axis with a tick at each power of ten, and below it as many of their texts as have room. */
function axisOf(ticks: readonly { readonly place: number; readonly text: string }[], indent: string): string {
  const last = ticks.at(-1)!.place;
  const line = Array.from({ length: last + 1 }, (_, i) => (ticks.some(({ place }) => place === i) ? '┴' : '─'));
  let below = '';
  for (const { place, text } of ticks) {
    const from = Math.max(place - Math.floor(text.length / 2), 0);
    if (below === '' || from > below.length) below = `${below.padEnd(from)}${text}`;
  }
  return `${indent}└${line.join('')}\n${indent} ${below}\n`;
}
