/** Times kernels on one and the same pass by turns, so that what else the machine does, it does to all of them. */
import { DeviceError } from '../../errors.js';
import type { AttentionPass } from './attention-pass.js';
import type { Contender, LeftOut } from './contenders.js';
import { Entrant, type Expected, type KernelTimes } from './entrant.js';

export interface TurnOptions {
  /** Of all kernels together, about, and as long again to warm up. */
  readonly seconds: number;
  readonly pause?: (() => Promise<void>) | undefined;
}

/** Turns that a kernel gets in any case, unless its calls take longer than `PATIENCE` times the time of all. */
const LEAST_TURNS = 3;
export const PATIENCE = 20;

/** Turns that fit into the time where calls are short. */
const TURNS = 5;

export async function timesByTurns(
  pass: AttentionPass,
  contenders: readonly Contender[],
  { seconds, pause }: TurnOptions,
): Promise<{ times: KernelTimes[]; leftOut: LeftOut[] }> {
  const all = 1000 * seconds;
  const [share, slice] = [all / contenders.length, all / contenders.length / TURNS];
  const { entrants, leftOut } = await warmedUp(pass, contenders, share, all, pause);
  const from = performance.now();
  for (let turn = 0; turn < LEAST_TURNS || performance.now() - from < all; turn++) {
    const due = entrants.filter(({ spent }) => spent < PATIENCE * all);
    if (due.length === 0) break;
    for (const [i] of due.entries()) {
      await due[(i + turn) % due.length]!.takeTurn(slice);
      await pause?.();
    }
  }
  const reference = entrants.find(({ name }) => name === 'reference') ?? null;
  return { times: await Promise.all(entrants.map((entrant) => entrant.times(reference))), leftOut };
}

/** Kernels that are ready to be timed: V8 compiles a second time, better, while they run. A device may have no room for the rows. */
async function warmedUp(
  pass: AttentionPass,
  contenders: readonly Contender[],
  ms: number,
  slow: number,
  pause: TurnOptions['pause'],
): Promise<{ entrants: Entrant[]; leftOut: LeftOut[] }> {
  const entrants: Entrant[] = [];
  const leftOut: LeftOut[] = [];
  let expected: Expected | null = null;
  for (const contender of contenders) {
    const entrant = new Entrant(contender, pass);
    try {
      expected = (await entrant.warmUp(ms, slow, expected)) ?? expected;
      entrants.push(entrant);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      leftOut.push({ kernel: contender.name, reason: error.message });
    }
    await pause?.();
  }
  return { entrants, leftOut };
}
