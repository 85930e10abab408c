/** One kernel among those that are timed on one pass: its calls, and what they come to. */
import type { AttentionCall, AttentionKernel } from '../../../attention/kernel/kernel.js';
import { addMoved, type Moved, Scratch } from '../../../attention/kernel/scratch.js';
import { type Floats, flat } from '../../tensor/tensor.js';
import { type Agreement, agreementOf, type CallSize, sizeOf } from './agreement.js';
import type { AttentionPass } from './attention-pass.js';
import type { Contender } from './contenders.js';

/** What one kernel took for one call. */
export interface KernelTimes {
  readonly kernel: string;
  /** Calls that were timed. */
  readonly calls: number;
  /** Milliseconds a call. */
  readonly medianMs: number;
  readonly leastMs: number;
  /** The reference's time over its own, of the same turn: the median of all turns. More than 1: it is faster. null: the reference is not among them. */
  readonly ratio: number | null;
  /** Of stored rows (`rowBytes`), by the median. */
  readonly gbPerSecond: number;
  /** Additions and multiplications (`operations`), by the median. */
  readonly gflopPerSecond: number;
  /** Bytes a call. */
  readonly moved: Moved;
  /** Kernels that were compiled for this, before calls were timed, and milliseconds that it took. */
  readonly compiled: number;
  readonly compileMs: number;
  /** Time of processors over time. A kernel of one thread that has less than 1 shared its processor with other programs. */
  readonly processors: number;
  /** null: the reference is not among them. */
  readonly agreement: Agreement | null;
}

/** The reference's result, and the sizes of its call. */
export interface Expected {
  readonly out: Floats;
  readonly size: CallSize;
}

const NOTHING_MOVED: Moved = { uploaded: 0, downloaded: 0, staged: 0 };

export class Entrant {
  /** Milliseconds of the calls that count. */
  spent = 0;
  readonly name: string;
  private readonly kernel: AttentionKernel;
  private readonly pass: AttentionPass;
  private readonly calls: number[] = [];
  /** The median of each turn. */
  private readonly turns: number[] = [];
  private readonly scratch = new Scratch();
  private readonly before = { compiled: 0, compileMs: 0, moved: NOTHING_MOVED };
  /** Milliseconds. */
  private readonly used = { time: 0, processors: 0 };
  private agreement: Agreement | null = null;

  constructor({ name, kernel }: Contender, pass: AttentionPass) {
    this.name = name;
    this.kernel = kernel;
    this.pass = pass;
  }

  /**
   * Has the kernel compiled and the rows uploaded, and holds its result against the reference's. A kernel on no device needs neither, so its first call
   * counts if it is slow: there may be few others.
   * @param ms of calls that do not count @returns what others are held against; null: it is not the reference
   */
  async warmUp(ms: number, slow: number, expected: Expected | null): Promise<Expected | null> {
    const report = await this.kernel.device?.();
    if (report) Object.assign(this.before, { compiled: report.compiled, compileMs: report.compileMs });
    let found: Expected | null = null;
    const first = await this.call(({ out_THV, ...call }) => {
      const out = flat(out_THV);
      if (this.name === 'reference') found = { out: out.slice(), size: sizeOf(call) };
      else if (expected) this.agreement = agreementOf(this.kernel, out, expected.out, expected.size);
    });
    if (!report && first > slow) this.count([first]);
    else {
      for (let spent = first - (await this.compiling()); spent < ms; ) spent += await this.call();
      this.before.moved = this.scratch.moved;
    }
    return found;
  }

  /** Calls for about as long as this, at least one. */
  async takeTurn(ms: number): Promise<void> {
    const calls: number[] = [];
    for (let spent = 0; calls.length === 0 || spent < ms; spent += calls.at(-1)!) calls.push(await this.call());
    this.count(calls);
  }

  private count(calls: readonly number[]): void {
    this.spent += calls.reduce((sum, call) => sum + call, 0);
    this.calls.push(...calls);
    this.turns.push(medianOf(calls));
  }

  /** @returns milliseconds of the kernel alone: the cache writes its rows before */
  private call(look: (call: AttentionCall) => void = () => {}): Promise<number> {
    return this.pass.within(async (call) => {
      const [usage, from] = [process.cpuUsage(), performance.now()];
      const done = this.kernel.attend([call], this.scratch);
      if (done) await done; // one that is done at once does not wait
      const ms = performance.now() - from;
      const { user, system } = process.cpuUsage(usage);
      this.used.time += ms;
      this.used.processors += (user + system) / 1000;
      look(call);
      return ms;
    });
  }

  /** Milliseconds that compiling has taken since the beginning. */
  private async compiling(): Promise<number> {
    return ((await this.kernel.device?.())?.compileMs ?? 0) - this.before.compileMs;
  }

  async times(reference: Entrant | null): Promise<KernelTimes> {
    const { name: kernel, calls, agreement, used, before, scratch } = this;
    const medianMs = medianOf(calls);
    const all = addMoved(NOTHING_MOVED, before.moved, scratch.moved);
    const a = (of: keyof Moved) => all[of] / calls.length;
    return {
      kernel,
      calls: calls.length,
      medianMs,
      leastMs: calls.reduce((least, ms) => Math.min(least, ms)),
      ratio: reference && this.ratioTo(reference),
      gbPerSecond: this.pass.rowBytes / medianMs / 1e6,
      gflopPerSecond: this.pass.operations / medianMs / 1e6,
      moved: { uploaded: a('uploaded'), downloaded: a('downloaded'), staged: a('staged') },
      compiled: ((await this.kernel.device?.())?.compiled ?? 0) - before.compiled,
      compileMs: await this.compiling(),
      processors: used.processors / used.time,
      agreement,
    };
  }

  /** A slow reference may have had fewer turns: its median stands for the others. */
  private ratioTo({ turns, calls }: Entrant): number {
    return medianOf(this.turns.map((ms, turn) => (turns[turn] ?? medianOf(calls)) / ms));
  }
}

function medianOf(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
