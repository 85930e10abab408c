/**
 * How a kernel reads the values of a stored row: what a codec's `decode` does, as text for gpu.js. What is taken from words stays a whole number
 * below 2^24, and is multiplied by powers of two: so it is exact. Indices are divided with a half added, since a GPU's division may be off in its
 * last places.
 */
import type { StoredStream } from '../../stored.js';
import {
  type Coded,
  headWidthOf,
  type Integers,
  perWordOf,
  raisedBy,
  scaleWidthOf,
  spanOf,
  unitOf,
  wordsOf,
} from './layout.js';
import { loop, type Rows } from './source.js';

/** The constants that reading it needs. */
export function constantsOf({ form }: StoredStream): Record<string, Float32Array> {
  return form.kind === 'codes' ? { table: form.table } : {};
}

/** The arrays that hold it, by the name of the first. */
export function arraysOf({ form }: StoredStream, name: string): string[] {
  return form.kind === 'integers' ? [name, `${name}Scales`] : [name];
}

/** Lines for value `k` of a head, both as text. */
export type UseOfValue = (k: string, value: string) => string;

/** Lines that go through the values of head `head` of the row in `slot`, word by word. Static scales are left out: all rows of a head have the same. */
export function eachValue(stream: StoredStream, name: string, rows: Rows, use: UseOfValue): string {
  const { dim, form } = stream;
  const at = `let ${name}At = head * ${headWidthOf(stream)};`;
  if (form.kind === 'numbers') {
    const body = `const value = ${name}[slot][${name}At];\n${use('k', 'value')}\n${name}At += 1;`;
    return `${at}\n${loop('k', 0, dim, body)}`;
  }
  const span = spanOf(form, dim);
  const whole = Math.floor(dim / span);
  const body = (values: number) => eachOfSpan(span, form, name, values, use);
  return `${at}\n${form.kind === 'integers' ? firstScale(stream, form, name, rows) : ''}
${loop('s', 0, whole, body(span))}
${loop('s', whole, Math.ceil(dim / span), body(dim % span))}`;
}

/** Span `s`: its whole units, then what is left. */
function eachOfSpan(span: number, form: Coded, name: string, values: number, use: UseOfValue): string {
  const { codes } = unitOf(form);
  const whole = Math.floor(values / codes);
  const body = (count: number) => eachOfUnit(span, form, name, count, use);
  return `${isByToken(form) ? nextScale(form, name) : ''}
${loop('u', 0, whole, body(codes))}
${loop('u', whole, Math.ceil(values / codes), body(values % codes))}`;
}

/** Unit `u` of span `s`: its first `count` codes. */
function eachOfUnit(span: number, form: Coded, name: string, count: number, use: UseOfValue): string {
  const { codes, words } = unitOf(form);
  const lines = [form.bits === 16 ? codesOfPair(name) : codesOfWord(form, name, count), `${name}At += ${words};`];
  for (let c = 0; c < count; c++) {
    const own = isByChannel(form) ? `${c}` : '';
    if (isByChannel(form)) lines.push(nextScale(form, name, own));
    lines.push(dequantised(form, `code${c}`, `value${c}`, own), use(`${span} * s + ${codes} * u + ${c}`, `value${c}`));
  }
  return lines.join('\n');
}

/** Declares where the head's first scale is. */
function firstScale(stream: StoredStream, form: Integers, name: string, rows: Rows): string {
  const perHead = scaleWidthOf(stream) / stream.heads;
  return `${runOfSlot(form, name, rows)}\nlet ${name}Group = head * ${perHead};`;
}

/** Declares the next scale, and its minimum. */
function nextScale(form: Integers, name: string, own = ''): string {
  return `${scaleAt(form, name, `${name}Group`, own)}\n${name}Group += ${form.minima ? 2 : 1};`;
}

/** Declares the first codes of a word: `from1` is the word without the code before code 1. */
function codesOfWord(form: Coded, name: string, count: number): string {
  const [each, { bits }] = [perWordOf(form), form];
  const lines = [`const from0 = ${name}[slot][${name}At];`];
  for (let c = 1; c <= count && c < each; c++) lines.push(`const from${c} = Math.floor(from0 * ${2 ** (-bits * c)});`);
  for (let c = 0; c < count; c++) {
    lines.push(
      c === each - 1 ? `const code${c} = from${c};` : `const code${c} = from${c} - ${2 ** bits} * from${c + 1};`,
    );
  }
  return lines.join('\n');
}

/** Declares three codes of 16 bits: two lie low in a word each, the halves of the third above them. */
function codesOfPair(name: string): string {
  return `const first = ${name}[slot][${name}At];
const second = ${name}[slot][${name}At + 1];
const aboveFirst = Math.floor(first * ${2 ** -16});
const aboveSecond = Math.floor(second * ${2 ** -16});
const code0 = first - 65536 * aboveFirst;
const code1 = second - 65536 * aboveSecond;
const code2 = aboveFirst + 256 * aboveSecond;`;
}

/** How a thread reads the same value of many rows. */
export interface ValueReading {
  /** Lines that come once: all that depends on the value alone. */
  readonly before: string;
  /** Lines that declare `value` of the row in `slot`. */
  readonly each: string;
}

/** @param v the value of head `head`, as text. Threads beyond the head's last one read what they have no use for. */
export function oneValue(stream: StoredStream, name: string, rows: Rows, v: string): ValueReading {
  const { dim, form } = stream;
  const width = headWidthOf(stream);
  if (form.kind === 'numbers') {
    return { before: fixed('at', `head * ${width} + ${v}`, v, dim), each: `const value = ${name}[slot][at];` };
  }
  const [span, { codes, words }] = [spanOf(form, dim), unitOf(form)];
  const before = `const span = Math.floor((${v} + 0.5) / ${span});
const inSpan = ${v} - ${span} * span;
const unit = Math.floor((inSpan + 0.5) / ${codes});
const place = inSpan - ${codes} * unit;
${fixed('at', `head * ${width} + ${wordsOf(form, span)} * span + ${words} * unit`, v, dim)}
${form.kind === 'integers' ? fixed('group', groupOf(stream, form, v), v, dim) : ''}
${form.bits === 16 ? placeInPair() : placeInWord(form)}`;
  const each = `${form.kind === 'integers' ? runOfSlot(form, name, rows) : ''}
${form.bits === 16 ? codeOfPair(name) : codeOfWord(form, name)}
${form.kind === 'integers' ? scaleAt(form, name, 'group') : ''}
${dequantised(form, 'code', 'value')}`;
  return { before, each };
}

/**
 * Declares an index that stays as it is while a loop goes through rows. The condition keeps threads beyond the head within the row; and V8, which moves what is
 * computed without one into the loop, leaves it where it is.
 */
function fixed(name: string, index: string, v: string, dim: number): string {
  return `let ${name} = ${index};\nif (${v} > ${dim - 0.5}) { ${name} = 0; }`;
}

/** Declares the power of two that brings the code to the lowest bits. */
function placeInWord(form: Coded): string {
  const lines = ['let down = 1;'];
  for (let c = 1; c < perWordOf(form); c++) lines.push(`if (place > ${c - 0.5}) { down = ${2 ** (-form.bits * c)}; }`);
  return lines.join('\n');
}

function codeOfWord({ bits }: Coded, name: string): string {
  return `const from = Math.floor(${name}[slot][at] * down);
const code = from - ${2 ** bits} * Math.floor(from * ${2 ** -bits});`;
}

/** Declares the word that the code lies low in; of the third, that of its first half. */
function placeInPair(): string {
  return 'let own = at;\nif (place > 0.5 && place < 1.5) { own = at + 1; }';
}

function codeOfPair(name: string): string {
  return `const first = ${name}[slot][own];
const above = Math.floor(first * ${2 ** -16});
let code = first - 65536 * above;
if (place > 1.5) { code = above + 256 * Math.floor(${name}[slot][at + 1] * ${2 ** -16}); }`;
}

/** Declares the value of a code. */
function dequantised(form: Coded, code: string, value: string, own = ''): string {
  if (form.kind === 'codes') return `const ${value} = this.constants.table[${code}];`;
  const scaled = `(${code} - ${raisedBy(form)}) * scale${own}`;
  if (!form.minima) return `const ${value} = ${scaled};`;
  return `const ${value}Scaled = ${scaled};\nconst ${value} = ${value}Scaled + minimum${own};`;
}

/** Where the scale of value v is. */
function groupOf(stream: StoredStream, form: Integers, v: string): string {
  const index = `head * ${scaleWidthOf(stream) / stream.heads}`;
  const group = isByChannel(form) ? v : 'span';
  return `${index} + ${form.minima ? 2 : 1} * ${group}`;
}

/** Declares `scale`, and behind it `minimum` where there are minima. */
function scaleAt(form: Integers, name: string, group: string, own = ''): string {
  const scales = `${name}Scales[${isByChannel(form) ? `${name}Run` : 'slot'}]`;
  const scale = `const scale${own} = ${scales}[${group}];`;
  return form.minima ? `${scale}\nconst minimum${own} = ${scales}[${group} + 1];` : scale;
}

/** Declares the run of slots that the row shares its scales with, if it does. */
function runOfSlot(form: Integers, name: string, rows: Rows): string {
  if (!isByChannel(form)) return '';
  const slot = rows === 'paged' ? 'slot + phase' : 'slot';
  return `const ${name}Run = Math.floor((${slot} + 0.5) / ${form.group});`;
}

function isByChannel(form: StoredStream['form']): form is Integers {
  return form.kind === 'integers' && form.along === 'channel';
}

function isByToken(form: StoredStream['form']): form is Integers {
  return form.kind === 'integers' && form.along === 'token';
}
