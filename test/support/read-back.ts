/**
 * What a cache must read, from the definitions alone, value by value: nearest values are searched among all that a dtype has, groups are
 * gathered by index. It shares the tables of the dtypes with the code, which have tests of their own, and nothing else.
 */
import type { KvCache } from '../../attention/cache/cache.js';
import type { KvFormat } from '../../attention/cache/codec/format.js';
import { type CacheBlock, consecutive, type LayerSchema, type StreamSchema } from '../../attention/streams.js';
import { float8s, tableOf } from '../../src/tensor/dtype.js';
import { type Floats, flat, floats, type Precision, tensor } from '../../src/tensor/tensor.js';

const f = Math.fround;

/** The finite values of a dtype that are not negative, in order: the code of each is its index. */
const ladders = {
  float16: [...tableOf('F16')!.subarray(0, 0x7c00)],
  bfloat16: [...tableOf('BF16')!.subarray(0, 0x7f80)],
  fp8_e4m3: [...float8s('F8_E4M3').subarray(0, 0x7f)],
  fp8_e5m2: [...float8s('F8_E5M2').subarray(0, 0x7c)],
};

/** The nearest value that a dtype has, the one of even code where two are as near; `beyond` the largest where it has none. */
function nearest(dtype: keyof typeof ladders, value: number, beyond: number): number {
  const [ladder, size] = [ladders[dtype], Math.abs(value)];
  if (Number.isNaN(value)) return value;
  let [low, high] = [0, ladder.length - 1];
  if (size > ladder[high]!) {
    const half = ladder[high]! + (ladder[high]! - ladder[high - 1]!) / 2;
    return Math.sign(value) * (size < half ? ladder[high]! : beyond);
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ladder[middle]! <= size) low = middle;
    else high = middle;
  }
  const [below, above] = [size - ladder[low]!, ladder[high]! - size];
  const found = below < above || (below === above && low % 2 === 0) ? low : high;
  return value < 0 || Object.is(value, -0) ? -ladder[found]! : ladder[found]!;
}

/** The rows [count x heads x dim] of one stream that were stored, as they are read. */
function readBack(format: KvFormat, rows: Floats, stream: StreamSchema, layer: number): Float32Array {
  const { heads, dim, name } = stream;
  const size = heads * dim;
  if (format.kind === 'fp8') {
    const largest = ladders[format.dtype].at(-1)!;
    const amax = format.amax?.[layer]?.[name] ?? [];
    return Float32Array.from(rows, (x, i) => {
      const measured = format.scale === 'tensor' ? Math.max(...amax) : amax[Math.floor((i % size) / dim)]!;
      const scale = format.scale === 'one' ? 1 : f(measured / largest);
      return f(nearest(format.dtype, f(f(x) / scale), largest) * scale);
    });
  }
  if (format.kind === 'integer') return readIntegers(format, rows, stream);
  if (format.dtype === 'float16' || format.dtype === 'bfloat16') {
    const dtype = format.dtype;
    return Float32Array.from(rows, (x) => nearest(dtype, f(x), Number.POSITIVE_INFINITY));
  }
  return Float32Array.from(rows);
}

function readIntegers(
  format: KvFormat & { kind: 'integer' },
  rows: Floats,
  { heads, dim, key }: StreamSchema,
): Float32Array {
  const groups = new Map<string, number[]>();
  for (let i = 0; i < rows.length; i++) {
    const [token, channel] = [Math.floor(i / (heads * dim)), i % (heads * dim)];
    const [head, k] = [Math.floor(channel / dim), channel % dim];
    const byChannel = format.keys === 'channel' && key;
    const group = byChannel
      ? `${Math.floor(token / format.group)}, ${channel}`
      : `${token}, ${head}, ${Math.floor(k / format.group)}`;
    const members = groups.get(group);
    if (members) members.push(i);
    else groups.set(group, [i]);
  }
  const read = new Float32Array(rows.length);
  for (const members of groups.values()) {
    const values = members.map((i) => f(rows[i]!));
    for (const [j, value] of readGroup(format, values).entries()) read[members[j]!] = value;
  }
  return read;
}

function readGroup({ dtype, zero, scaleDtype }: KvFormat & { kind: 'integer' }, values: readonly number[]): number[] {
  const scale = (x: number) => (scaleDtype === 'float16' ? nearest('float16', f(x), 65504) : f(x));
  const bits = dtype === 'int8' ? 8 : 4;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (zero === 'symmetric') {
    const most = 2 ** (bits - 1) - 1;
    const s = scale(Math.max(-low, high) / most);
    return values.map((x) => f(clamp(s === 0 ? 0 : toEven(f(x / s)), -most, most) * s));
  }
  const most = 2 ** bits - 1;
  const [s, z] = [scale(f(high - low) / most), scale(low)];
  return values.map((x) => f(f(clamp(s === 0 ? 0 : toEven(f(f(x - z) / s)), 0, most) * s) + z));
}

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high) + 0;

function toEven(x: number): number {
  const near = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/**
 * Rows [T x heads x dim] as the query at the end of T tokens reads them: all of them as they are stored, or those before the last multiple of the
 * residual, and the others as they were computed.
 */
export function rowsAsRead(
  format: KvFormat,
  rows: Floats,
  stream: StreamSchema,
  layer: number,
  tokens: number,
): Floats {
  const { residual } = format;
  const stored = residual === 0 ? tokens : Math.floor(tokens / residual) * residual;
  const whole = rows.slice();
  whole.set(readBack(format, whole.slice(0, stored * stream.heads * stream.dim), stream, layer));
  return whole;
}

/** A cache, as far as a layer needs one, that holds every row as it was given and reads them by the definitions, for each query anew. */
export function oracleCache(layers: readonly LayerSchema[], format: KvFormat, precision: Precision): KvCache {
  const rows = layers.map(() => new Map<string, number[]>());
  let [next, begun] = [0, 0];
  const cache: Pick<KvCache, 'next' | 'begin' | 'write' | 'blocks' | 'epochOf' | 'commit'> = {
    get next() {
      return next;
    },
    begin(positions) {
      begun = positions.length;
    },
    write(layer, given) {
      for (const [name, fresh] of Object.entries(given)) {
        rows[layer]!.set(name, [...(rows[layer]!.get(name) ?? []), ...flat(fresh)]);
      }
    },
    blocks(layer, query = next + begun - 1): CacheBlock[] {
      const read = (name: string) => {
        const stream = layers[layer]!.streams.find((one) => one.name === name)!;
        const whole = floats(precision, (next + begun) * stream.heads * stream.dim);
        whole.set(rows[layer]!.get(name)!);
        const tokens = format.residual === 0 ? next + begun : query + 1;
        const asRead = rowsAsRead(format, whole, stream, layer, tokens);
        return tensor(asRead, [next + begun, stream.heads, stream.dim]);
      };
      return [{ positions: consecutive(0, next + begun), read }];
    },
    epochOf: (query) => (format.residual === 0 ? 0 : query),
    commit() {
      next += begun;
      begun = 0;
    },
  };
  return cache as KvCache;
}
