/** Times attention kernels over shapes, passes and lengths. */
import type { PassKind } from '../serving.js';
import { AttentionPass, type BenchStore } from './attention-pass.js';
import type { Contender, LeftOut } from './contenders.js';
import type { KernelTimes } from './entrant.js';
import type { BenchShape } from './shapes.js';
import { PATIENCE, type TurnOptions, timesByTurns } from './turns.js';

export interface BenchOptions extends BenchStore, TurnOptions {
  readonly shapes: readonly BenchShape[];
  /** T of each, ascending. */
  readonly tokens: Readonly<Record<PassKind, readonly number[]>>;
}

/** One pass of one shape over T rows. */
export interface BenchCell {
  readonly shape: string;
  readonly heads: string;
  readonly pass: PassKind;
  /** T */
  readonly tokens: number;
  /** Bytes of the rows that a call reads, in the form that the cache keeps them in. */
  readonly rowBytes: number;
  /** Additions and multiplications of a call. */
  readonly operations: number;
  readonly times: readonly KernelTimes[];
  /** Not timed here, and why. */
  readonly leftOut: readonly LeftOut[];
}

export async function* attentionBench(
  options: BenchOptions,
  contenders: readonly Contender[],
): AsyncGenerator<BenchCell, void> {
  for (const shape of options.shapes) {
    for (const kind of ['decode', 'prefill'] as const) {
      let last: BenchCell | null = null;
      for (const tokens of options.tokens[kind]) {
        last = await cellOf(shape, kind, tokens, options, contenders, last);
        yield last;
      }
    }
  }
}

async function cellOf(
  shape: BenchShape,
  kind: PassKind,
  tokens: number,
  options: BenchOptions,
  contenders: readonly Contender[],
  last: BenchCell | null,
): Promise<BenchCell> {
  const tooSlow = contenders.flatMap((contender) => slowness(contender, last, tokens, kind, options.seconds));
  const others = contenders.filter(({ name }) => !tooSlow.some(({ kernel }) => kernel === name));
  const pass = new AttentionPass(shape, kind, tokens, options);
  try {
    const { times, leftOut } = await timesByTurns(pass, others, options);
    const { rowBytes, operations } = pass;
    const { name, heads } = shape;
    return { shape: name, heads, pass: kind, tokens, rowBytes, operations, times, leftOut: [...tooSlow, ...leftOut] };
  } finally {
    pass.release();
  }
}

/**
 * Why a kernel on a device is not tried: from its time for fewer tokens, one call would take too long. (Software that plays a GPU does.) Those of
 * the host are the measure and always tried, and so is what is faster than they are. */
function slowness(
  { name: kernel, kernel: { device } }: Contender,
  last: BenchCell | null,
  tokens: number,
  kind: PassKind,
  seconds: number,
): LeftOut[] {
  if (!last || !device) return [];
  const before = last.leftOut.find((left) => left.kernel === kernel);
  if (before) return [before];
  const { medianMs, ratio } = last.times.find((times) => times.kernel === kernel)!;
  const expected = medianMs * (tokens / last.tokens) ** (kind === 'decode' ? 1 : 2);
  if (expected <= 1000 * PATIENCE * seconds || (ratio !== null && ratio >= 1)) return [];
  const about = (expected / 1000).toPrecision(2);
  return [
    {
      kernel,
      reason: `A call over ${tokens.toLocaleString('en-US')} tokens would take about ${about} s; give more --seconds.`,
    },
  ];
}
