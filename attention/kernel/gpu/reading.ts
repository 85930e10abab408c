/** How a kernel reads a value of a stored row: what a codec's `decode` does, as text for gpu.js. */
import type { StoredForm, StoredStream } from '../../stored.js';

/**
 * Arrays on a device hold float32 numbers alone, and each holds an integer below 2^24 exactly: three bytes a number. So int8 takes a third
 * of the bytes of float32, and int4 a sixth.
 */
export const BYTES_PER_WORD = 3;

/** Numbers that a row takes on a device. */
export function widthOf({ heads, dim, form }: StoredStream): number {
  return form.kind === 'numbers' ? heads * dim : Math.ceil(rowBytesOf(heads * dim, form.bits) / BYTES_PER_WORD);
}

export function rowBytesOf(size: number, bits: number): number {
  return Math.ceil((size * bits) / 8);
}

/** Scales and minima that a run of slots takes on a device: side by side for each group. 0: it has none. */
export function scaleWidthOf({ heads, dim, form }: StoredStream): number {
  if (form.kind !== 'integers') return 0;
  return groupsOf(heads, dim, form) * (form.minima ? 2 : 1);
}

/** Groups of a run of slots. */
export function groupsOf(heads: number, dim: number, { along, group }: StoredForm & { kind: 'integers' }): number {
  return along === 'channel' ? heads * dim : heads * Math.ceil(dim / group);
}

/** Slots that share scales. */
export function runOf({ form }: StoredStream): number {
  return form.kind === 'integers' && form.along === 'channel' ? form.group : 1;
}

/** The constants that reading it needs. */
export function constantsOf({ form }: StoredStream): Record<string, Float32Array> {
  return form.kind === 'codes' ? { table: form.table } : {};
}

/** The arrays that hold it, by the name of the first. */
export function arraysOf({ form }: StoredStream, name: string): string[] {
  return form.kind === 'integers' ? [name, `${name}Scales`] : [name];
}

/**
 * Lines that declare `value`: number k of head `head` of the row in `slot`. A static scale is left out: it is the same for all rows of a head.
 * Indices are divided with a half added, since a GPU's division may be off in its last places.
 */
export function readingOf(stream: StoredStream, name: string, k: string): string {
  const { dim, form } = stream;
  const i = `head * ${dim} + ${k}`;
  switch (form.kind) {
    case 'numbers':
      return `const value = ${name}[slot][${i}];`;
    case 'codes':
      return form.bits === 8
        ? `${byteAt(name, i, 'code')}\nconst value = this.constants.table[code];`
        : `${byteAt(name, `2 * (${i})`, 'low')}\n${byteAt(name, `2 * (${i}) + 1`, 'high')}\n` +
            'const value = this.constants.table[high * 256 + low];';
    case 'integers':
      return `${codeOf(form, name, i)}\n${scaledBy(stream, form, name, k, i)}`;
    default:
      return form satisfies never;
  }
}

/** Declares a byte of the row: the words' numbers are whole, and halving them is exact. */
function byteAt(array: string, at: string, name: string): string {
  return `const ${name}At = Math.floor((${at} + 0.5) / ${BYTES_PER_WORD});
const ${name}Place = ${at} - ${BYTES_PER_WORD} * ${name}At;
let ${name}Rest = ${array}[slot][${name}At];
if (${name}Place > 0.5) { ${name}Rest = Math.floor(${name}Rest * ${1 / 256}); }
if (${name}Place > 1.5) { ${name}Rest = Math.floor(${name}Rest * ${1 / 256}); }
const ${name} = ${name}Rest - 256 * Math.floor(${name}Rest * ${1 / 256});`;
}

/** Declares `code`, negative ones with their sign. */
function codeOf({ bits, signed }: StoredForm & { kind: 'integers' }, name: string, i: string): string {
  const sign = signed ? `if (code > ${2 ** (bits - 1) - 0.5}) { code -= ${2 ** bits}; }` : '';
  if (bits === 8) return `${byteAt(name, i, 'byte')}\nlet code = byte;\n${sign}`;
  return `const pair = Math.floor((${i} + 0.5) * 0.5);
${byteAt(name, 'pair', 'byte')}
let code = Math.floor(byte * 0.0625);
if (${i} - 2 * pair < 0.5) { code = byte - 16 * code; }
${sign}`;
}

function scaledBy(
  { dim }: StoredStream,
  { along, group, minima }: StoredForm & { kind: 'integers' },
  name: string,
  k: string,
  i: string,
): string {
  const [run, at] =
    along === 'channel'
      ? [`Math.floor((slot + 0.5) / ${group})`, i]
      : ['slot', `head * ${Math.ceil(dim / group)} + Math.floor((${k} + 0.5) / ${group})`];
  const each = minima ? 2 : 1;
  const scale = `const run = ${run};\nconst at = ${each} * (${at});\nconst scaled = code * ${name}Scales[run][at];`;
  return minima ? `${scale}\nconst value = scaled + ${name}Scales[run][at + 1];` : `${scale}\nconst value = scaled;`;
}
