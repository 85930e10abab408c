/** In which form a cache keeps its rows: what may be asked for, and what it comes to. */
import { expectSize, UsageError } from '../../../src/errors.js';

/** The dtypes in which a cache stores its rows. */
export const KV_DTYPES = ['float32', 'float64', 'float16', 'bfloat16', 'fp8_e4m3', 'fp8_e5m2', 'int8', 'int4'] as const;

export type KvDtype = (typeof KV_DTYPES)[number];

/**
 * The largest |value| of each stream by head [heads], one entry a layer: what static scales are made of. It is measured on a text
 * (`calibrate`).
 */
export type KvAmax = readonly Readonly<Record<string, readonly number[]>>[];

/** What a user may ask for: a dtype, and what goes with it. Read `kvFormat` for what each member means where it is left out. */
export interface KvConfig {
  readonly dtype: KvDtype;
  /** fp8: one scale for a layer's stream, one for each of its heads, or 1 everywhere. */
  readonly scale?: 'one' | 'tensor' | 'head' | undefined;
  /** fp8 with scales: what they are made of. */
  readonly amax?: KvAmax | undefined;
  /** int8, int4: scales around zero, or a scale and a minimum. */
  readonly zero?: 'symmetric' | 'affine' | undefined;
  /** int8, int4: what the keys' groups run along. Other streams always go by token. */
  readonly keys?: 'token' | 'channel' | undefined;
  /** int8, int4: values that share a scale: of one token and head, or of one channel. */
  readonly group?: number | undefined;
  /** int8, int4: tokens since the last multiple of this many are kept as they were computed. */
  readonly residual?: number | undefined;
  /** int8, int4: of scales and minima. */
  readonly scaleDtype?: 'float16' | 'float32' | undefined;
}

export type KvFormat = FloatFormat | Fp8Format | IntegerFormat;

interface FormatBase {
  /** One line that tells it from every other format. */
  readonly name: string;
  /** Tokens since the last multiple of this many are not stored in this format yet; 0: all are, at once. */
  readonly residual: number;
  /** Rows come and go by runs of this many, since they share scales: 1 or a group. */
  readonly alignment: number;
}

export interface FloatFormat extends FormatBase {
  readonly kind: 'float';
  readonly dtype: 'float32' | 'float64' | 'float16' | 'bfloat16';
}

export interface Fp8Format extends FormatBase {
  readonly kind: 'fp8';
  readonly dtype: 'fp8_e4m3' | 'fp8_e5m2';
  readonly scale: 'one' | 'tensor' | 'head';
  readonly amax: KvAmax | null;
}

export interface IntegerFormat extends FormatBase {
  readonly kind: 'integer';
  readonly dtype: 'int8' | 'int4';
  readonly zero: 'symmetric' | 'affine';
  readonly keys: 'token' | 'channel';
  readonly group: number;
  readonly scaleDtype: 'float16' | 'float32';
}

/** The names that members can have; the first of each stands for one that is left out. */
export const KV_CHOICES = {
  scale: ['one', 'tensor', 'head'],
  zero: ['symmetric', 'affine'],
  keys: ['token', 'channel'],
  scaleDtype: ['float16', 'float32'],
} as const satisfies Partial<Record<keyof KvConfig, readonly string[]>>;

const DEFAULT_GROUP = 32;
/** Of KIVI (Liu et al. 2024, section 4.1), for keys by channel. By token nothing need wait. */
const DEFAULT_RESIDUAL = 128;

/** The members of a config that go with a dtype. */
export function membersOf(dtype: KvDtype): readonly (keyof KvConfig)[] {
  const kind = kindOf(dtype);
  if (kind === 'fp8') return ['scale', 'amax'];
  return kind === 'integer' ? ['zero', 'keys', 'group', 'residual', 'scaleDtype'] : [];
}

function kindOf(dtype: KvDtype): KvFormat['kind'] {
  if (dtype === 'fp8_e4m3' || dtype === 'fp8_e5m2') return 'fp8';
  return dtype === 'int8' || dtype === 'int4' ? 'integer' : 'float';
}

/**
 * A config with all that it leaves out. A dtype alone stands for: fp8 with scale 1; integers symmetric, in groups of 32 along a token's
 * head, with float16 scales. Keys by channel wait in a residual of 128 tokens.
 * @throws UsageError for a member that has no meaning with the dtype, and for values that it cannot have
 */
export function kvFormat(asked: KvDtype | KvConfig): KvFormat {
  const config: KvConfig = typeof asked === 'string' ? { dtype: asked } : asked;
  const { dtype } = config;
  if (!KV_DTYPES.includes(dtype)) {
    throw new UsageError(`kvDtype: expected one of ${KV_DTYPES.join(', ')}, got ${JSON.stringify(dtype)}.`);
  }
  const allowed = ['dtype', ...membersOf(dtype)];
  for (const [member, value] of Object.entries(config)) {
    if (value !== undefined && !allowed.includes(member)) {
      throw new UsageError(`kvDtype ${dtype}: ${member} has no meaning for it; leave it out.`);
    }
  }
  const kind = kindOf(dtype);
  if (kind === 'fp8') return fp8Format(dtype as Fp8Format['dtype'], config);
  if (kind === 'integer') return integerFormat(dtype as IntegerFormat['dtype'], config);
  return { kind, name: dtype, dtype: dtype as FloatFormat['dtype'], residual: 0, alignment: 1 };
}

function fp8Format(dtype: Fp8Format['dtype'], { scale = 'one', amax = undefined }: KvConfig): Fp8Format {
  expectChoice('scale', scale);
  if ((scale === 'one') !== (amax === undefined)) {
    throw new UsageError(
      scale === 'one'
        ? `kvDtype ${dtype}: amax is given, and no scale is made of it; choose scale tensor or head.`
        : `kvDtype ${dtype}: a scale for each ${scale} needs amax, which calibrate measures (--kv-scales FILE), or choose scale one.`,
    );
  }
  const name = scale === 'one' ? dtype : `${dtype} scaled by ${scale}`;
  return { kind: 'fp8', name, dtype, scale, amax: amax ?? null, residual: 0, alignment: 1 };
}

function integerFormat(dtype: IntegerFormat['dtype'], config: KvConfig): IntegerFormat {
  const { zero = 'symmetric', keys = 'token', group = DEFAULT_GROUP, scaleDtype = 'float16' } = config;
  expectChoice('zero', zero);
  expectChoice('keys', keys);
  expectChoice('scaleDtype', scaleDtype);
  expectSize('group (--kv-group)', group);
  const residual = config.residual ?? (keys === 'channel' ? Math.ceil(DEFAULT_RESIDUAL / group) * group : 0);
  if (residual !== 0) expectSize('residual (--kv-residual)', residual);
  if (keys === 'channel' && (residual === 0 || residual % group !== 0)) {
    throw new UsageError(
      `residual (--kv-residual): expected a multiple of the group of ${group} tokens (--kv-group), since keys by channel are stored in ` +
        `whole groups, got ${residual}.`,
    );
  }
  const parts = [
    dtype,
    zero,
    ...(keys === 'channel' ? ['keys by channel'] : []),
    `groups of ${group}`,
    ...(residual > 0 ? [`residual ${residual}`] : []),
    ...(scaleDtype === 'float16' ? [] : [`${scaleDtype} scales`]),
  ];
  const alignment = keys === 'channel' ? group : 1;
  return { kind: 'integer', name: parts.join(', '), dtype, zero, keys, group, residual, scaleDtype, alignment };
}

function expectChoice(member: keyof typeof KV_CHOICES, value: string): void {
  const choices: readonly string[] = KV_CHOICES[member];
  if (choices.includes(value)) return;
  throw new UsageError(`kvDtype: ${member}: expected one of ${choices.join(', ')}, got ${JSON.stringify(value)}.`);
}
