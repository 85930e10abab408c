/** Jinja as transformers sets it up for chat templates (`render_jinja_template`), on @huggingface/jinja. */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { asPython, PYTHON } from './jinja-python.js';

/** What jinja2's sandbox allows a range to have, and what a template may go round in all: more is a fault, or meant to do harm. */
const [LONGEST_RANGE, MOST_ROUNDS] = [100_000, 1_000_000];

export type JinjaProgram = ReturnType<typeof parse>;

/** What a template itself says with `raise_exception`. */
export class RaisedByTemplate extends Error {}

/** @throws Error with the library's words */
export function parseJinja(source: string): JinjaProgram {
  const lines = source.replace(/\r\n?/g, '\n'); // as jinja2 reads them
  const program = parse(tokenize(lines, { lstrip_blocks: true, trim_blocks: true }));
  return asPython(program) as JinjaProgram;
}

/**
 * @param variables what the template may name beside Jinja's own
 * @throws RaisedByTemplate, or Error with the library's words
 */
export function renderJinja(program: JinjaProgram, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  let rounds = 0;
  const python_round = () => {
    if (++rounds > MOST_ROUNDS) throw new Error(`it goes round loops more than ${MOST_ROUNDS} times`);
    return '';
  };
  const names = { ...PYTHON, python_round, ...globals, ...variables };
  for (const [name, value] of Object.entries(names)) environment.set(name, value);
  return (new Interpreter(environment).run(program) as { value: string }).value;
}

/** Those of the library are set up by its `Template` alone, which makes every error alike, and names months in the machine's language. */
const globals = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range,
  strftime_now: (format: string) => strftime(new Date(), format),
  raise_exception: (message: string) => {
    throw new RaisedByTemplate(message);
  },
};

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error('range goes on by 0');
  const length = Math.max(Math.ceil((stop - start) / step), 0);
  if (length > LONGEST_RANGE) throw new Error(`a range has ${length} numbers, and may have ${LONGEST_RANGE}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Python's `strftime` in the C locale, as far as templates go; `%-d` is without the zero before it. @throws Error for what it does not know */
export function strftime(date: Date, format: string): string {
  const name = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat('en-US', options).format(date);
  const hour = date.getHours();
  const parts: Readonly<Record<string, string | number>> = {
    Y: date.getFullYear(),
    y: date.getFullYear() % 100,
    m: date.getMonth() + 1,
    d: date.getDate(),
    H: hour,
    I: hour % 12 || 12,
    M: date.getMinutes(),
    S: date.getSeconds(),
    p: hour < 12 ? 'AM' : 'PM',
    b: name({ month: 'short' }),
    B: name({ month: 'long' }),
    a: name({ weekday: 'short' }),
    A: name({ weekday: 'long' }),
    e: String(date.getDate()).padStart(2, ' '),
    j: String(dayOfYear(date)).padStart(3, '0'),
    '%': '%',
  };
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare: string, key: string) => {
    const part = parts[key];
    if (part === undefined) throw new Error(`strftime_now does not know ${whole}`);
    if (typeof part !== 'number') return part;
    return bare === '' ? String(part).padStart(2, '0') : String(part);
  });
}

function dayOfYear(date: Date): number {
  const days = (month: number, day: number) => Date.UTC(date.getFullYear(), month, day) / 86_400_000;
  return days(date.getMonth(), date.getDate()) - days(0, 0);
}
