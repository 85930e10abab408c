/** Times parts of a program from outside: the objects that do the work know of no clock. */

/** Adds up the time of each phase. Of phases within each other, the inner one alone runs. */
export class PhaseClock<Phase extends string> {
  private readonly ms = new Map<Phase, number>();
  private current: Phase;
  private since = performance.now();

  /** @param first the phase of what is not in another one */
  constructor(first: Phase) {
    this.current = first;
  }

  during<Result>(phase: Phase, act: () => Result): Result {
    const outer = this.enter(phase);
    try {
      return act();
    } finally {
      this.enter(outer);
    }
  }

  /** Milliseconds of each phase so far. */
  read(): ReadonlyMap<Phase, number> {
    this.enter(this.current);
    return new Map(this.ms);
  }

  private enter(phase: Phase): Phase {
    const [before, now] = [this.current, performance.now()];
    this.ms.set(before, (this.ms.get(before) ?? 0) + now - this.since);
    this.current = phase;
    this.since = now;
    return before;
  }
}

/** The same object, whose members that are named run in their phase: methods, and values that are computed when they are read. */
export function timed<Target extends object, Phase extends string>(
  target: Target,
  phases: Partial<Record<keyof Target, Phase>>,
  clock: PhaseClock<Phase>,
): Target {
  const methods = new Map<PropertyKey, unknown>();
  return new Proxy(target, {
    get(_, key) {
      const phase = phases[key as keyof Target];
      if (phase === undefined) return Reflect.get(target, key);
      if (methods.has(key)) return methods.get(key);
      const value: unknown = clock.during(phase, () => Reflect.get(target, key));
      if (typeof value !== 'function') return value;
      const method = (...args: unknown[]) => clock.during(phase, () => Reflect.apply(value, target, args));
      methods.set(key, method);
      return method;
    },
  });
}
