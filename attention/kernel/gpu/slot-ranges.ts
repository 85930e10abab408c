/** Hands out runs of slots, and takes them back: the first gap that is large enough, and gaps that meet become one. */
export class SlotRanges {
  /** Free runs below `end`, in order; no two of them touch. */
  private gaps: { from: number; count: number }[] = [];
  /** After the last slot that is taken. */
  end = 0;

  /** @returns the first slot of a run that begins at a multiple of `alignment` */
  take(count: number, alignment: number): number {
    for (const [i, { from, count: free }] of this.gaps.entries()) {
      const start = aligned(from, alignment);
      const rest = from + free - start - count;
      if (rest < 0) continue;
      const parts = [
        { from, count: start - from },
        { from: start + count, count: rest },
      ];
      this.gaps.splice(i, 1, ...parts.filter((part) => part.count > 0));
      return start;
    }
    const start = aligned(this.end, alignment);
    if (start > this.end) this.gaps.push({ from: this.end, count: start - this.end });
    this.end = start + count;
    return start;
  }

  /** Lets the run of `count` slots from `from` on have `more` of them, if they are free behind it. @returns whether they were */
  extend(from: number, count: number, more: number): boolean {
    const behind = from + count;
    if (behind === this.end) {
      this.end += more;
      return true;
    }
    const at = this.gaps.findIndex((gap) => gap.from === behind && gap.count >= more);
    if (at < 0) return false;
    const { count: free } = this.gaps[at]!;
    this.gaps.splice(at, 1, ...(free > more ? [{ from: behind + more, count: free - more }] : []));
    return true;
  }

  give(from: number, count: number): void {
    if (count === 0) return;
    const after = this.gaps.findIndex((gap) => gap.from > from);
    const at = after < 0 ? this.gaps.length : after;
    this.gaps.splice(at, 0, { from, count });
    this.join(at);
    if (at > 0) this.join(at - 1);
    const last = this.gaps.at(-1)!;
    if (last.from + last.count === this.end) {
      this.end = last.from;
      this.gaps.pop();
    }
  }

  /** Joins a gap with the next one if they touch. */
  private join(at: number): void {
    const [gap, next] = [this.gaps[at], this.gaps[at + 1]];
    if (!gap || !next || gap.from + gap.count < next.from) return;
    gap.count += next.count;
    this.gaps.splice(at + 1, 1);
  }
}

function aligned(slot: number, alignment: number): number {
  return Math.ceil(slot / alignment) * alignment;
}
