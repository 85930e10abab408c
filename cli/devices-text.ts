/** What `touchstone devices` prints. */
import type { DeviceName } from '../attention/kernel/gpu/device.js';
import { TEST_SHAPE } from '../src/reference/device-case.js';
import type { DeviceCheck } from '../src/reference/device-test.js';
import { type Column, markdownTable } from './table.js';

export type ListedDevice =
  | { readonly name: DeviceName; readonly available: true; readonly about: string; readonly software: boolean }
  | { readonly name: DeviceName; readonly available: false; readonly reason: string };

/** What `--device auto` takes, and why not what it would rather have. */
export interface Automatic {
  readonly name: DeviceName;
  readonly passedOver: readonly string[];
}

export interface Tested {
  readonly name: DeviceName;
  /** What gpu.js says has run the kernels. */
  readonly ran: readonly string[];
  readonly checks: readonly DeviceCheck[];
  /** Why the test ended before its end; null: it did not. */
  readonly failure: string | null;
  readonly passed: boolean;
}

const number = (value: number) => value.toLocaleString('en-US');

export function listText(listed: readonly ListedDevice[], automatic: Automatic | null): string {
  const lines = listed.map((device) => `${device.name.padEnd(8)}${aboutText(device)}\n`);
  if (!automatic) return lines.join('');
  const known = listed.map((device) => (device.available ? '' : device.reason));
  const why = automatic.passedOver.filter((reason) => !known.includes(reason)).map((reason) => `; ${reason}`);
  return `${lines.join('')}\n--device auto takes ${automatic.name}${why.join('')}.\n`;
}

function aboutText(device: ListedDevice): string {
  if (!device.available) return `not available: ${withoutName(device.reason)}`;
  return `${device.about}${device.name === 'webgpu' && device.software ? ' (software: it computes on the processor)' : ''}`;
}

/** A DeviceError's message where the device's name stands before it. */
function withoutName(message: string): string {
  return message.replace(/^Device \w+: /, '');
}

export function testText(tested: readonly Tested[], seconds: number): string {
  const { queryHeads, keyValueHeads, headDim, tokens } = TEST_SHAPE;
  const about = `Each was tested for ${number(seconds)} s with a decode step: ${queryHeads} query heads and ${keyValueHeads} key/value heads of ${headDim} over ${number(tokens)} tokens in a cache.
Errors are in unit roundoffs (2^-24) of the largest value, against the reference kernel in float64. GB/s: rows as the cache keeps them.
Bytes go up to the device and come down from it in each step.`;
  const failures = tested
    .filter(({ failure }) => failure !== null)
    .map(({ name, failure }) => `${name}: ${withoutName(failure!)}\n`);
  return `${about}\n\n${table(tested)}${failures.length > 0 ? `\n${failures.join('')}` : ''}`;
}

const HEADER = [
  'device',
  'gpu.js ran',
  'cache',
  'error',
  'bound',
  'test',
  'steps/s',
  'GB/s',
  'kernels',
  'compiled in',
  'bytes up',
  'down',
];

/** Names to the left, numbers to the right. */
function table(tested: readonly Tested[]): string {
  const columns = HEADER.map((title, i): Column => ({ title, align: i < 3 || title === 'test' ? 'left' : 'right' }));
  return markdownTable(columns, tested.flatMap(rowsOf));
}

function rowsOf({ name, ran, checks, failure }: Tested): string[][] {
  const rows = checks.map((check) => [name, ran.join(', '), ...cellsOf(check)]);
  const broken = [name, ran.join(', ') || 'nothing', '', '', '', 'FAIL', ...Array<string>(6).fill('')];
  return failure === null ? rows : [broken];
}

/** GB/s of rows in the form in which the cache keeps them. */
function cellsOf({ kvDtype, error, bound, passed, steps, ms, kvBytes, moved, compiled, compileMs }: DeviceCheck) {
  return [
    kvDtype,
    error.toFixed(1),
    number(Math.ceil(bound)),
    passed ? 'PASS' : 'FAIL',
    ((1000 * steps) / ms).toFixed(1),
    ((kvBytes * steps) / ms / 1e6).toFixed(2),
    number(compiled),
    `${number(Math.round(compileMs))} ms`,
    number(Math.round(moved.uploaded)),
    number(Math.round(moved.downloaded)),
  ];
}
