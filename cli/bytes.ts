/** Numbers of bytes as people write them. */
import { InvalidArgumentError } from 'commander';

const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'] as const;
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** In decimal units, with one digit after the point, two below 10: 10.7 GB, 343.6 GB, 1.34 GB, 512 B. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let [value, unit] = [bytes, 0];
  while (value >= 999.95 && unit < DECIMAL.length - 1) [value, unit] = [value / 1000, unit + 1]; // 999.96 MB is written 1.00 GB
  return `${value.toFixed(value < 9.995 ? 2 : 1)} ${DECIMAL[unit]}`;
}

/** 10^exponent bytes: 1 MB, 10 MB, 100 MB, 1 GB. */
export function powerText(exponent: number): string {
  const unit = Math.min(Math.floor(exponent / 3), DECIMAL.length - 1);
  return `${(10 ** (exponent - 3 * unit)).toLocaleString('en-US')} ${DECIMAL[unit]}`;
}

/** Reads 80GB, 80GiB, 1.5 TB, 24e9 or 24000000000, of at least `least` bytes. */
export function byteCount(least: number): (text: string) => number {
  return (text) => {
    const [, digits, unit = 'B'] = /^(\d+(?:\.\d+)?(?:e\d+)?) ?([a-z]*)$/i.exec(text.trim()) ?? [];
    const bytes = Math.round(Number(digits) * factorOf(unit || 'B'));
    if (Number.isSafeInteger(bytes) && bytes >= least) return bytes;
    throw new InvalidArgumentError(`Expected a number of bytes of at least ${least}, such as 80GB, 80GiB or 24e9.`);
  };
}

/** NaN for a unit that there is not. */
function factorOf(unit: string): number {
  const power = (units: readonly string[]) => units.findIndex((name) => name.toLowerCase() === unit.toLowerCase());
  if (power(DECIMAL) >= 0) return 1000 ** power(DECIMAL);
  return power(BINARY) >= 0 ? 1024 ** power(BINARY) : Number.NaN;
}
