/** The text of a kernel, as gpu.js compiles it. Loop bounds and shapes are literals in it: gpu.js ends other loops silently after 1,000 rounds. */
export interface KernelSource {
  readonly name: string;
  readonly text: string;
  /** Its parameters, in order. */
  readonly arrays: readonly string[];
  readonly scalars: readonly string[];
  /** Arrays that never change, which are uploaded once. */
  readonly constants: Readonly<Record<string, Float32Array>>;
  /** Numbers that a thread returns. */
  readonly lanes: number;
}

/** The score of a key that a query must not see: the lowest float32. (Infinity would become NaN on some GPUs.) */
export const HIDDEN = -3.4028234663852886e38;

/** Other scores are raised to this, and what lies below HIDDEN_BELOW is hidden. */
export const LOWEST = -3.4e38;
export const HIDDEN_BELOW = -3.401e38;

/** Keys whose scores and weighted values are summed together, before sums of several such chunks are merged. */
export const CHUNK = 64;

/**
 * Which row key i is. `listed`: that in slot slots[i]. `paged`: row i of arrays whose first row is `phase` rows after the beginning of the run that it shares
 * scales with.
 */
export type Rows = 'listed' | 'paged';

export function slotOf(rows: Rows): string {
  return rows === 'listed' ? 'const slot = slots[i];' : 'const slot = i;';
}

export function slotArrays(rows: Rows): string[] {
  return rows === 'listed' ? ['slots'] : [];
}

export function slotScalars(rows: Rows): string[] {
  return rows === 'paged' ? ['phase'] : [];
}

/** A loop, or nothing for a loop of no rounds. */
export function loop(variable: string, from: number, to: number, body: string): string {
  return from < to ? `for (let ${variable} = ${from}; ${variable} < ${to}; ${variable}++) {\n${body}\n}` : '';
}

/** One line for each lane. */
export function eachLane(lanes: number, line: (lane: number) => string): string {
  return Array.from({ length: lanes }, (_, lane) => line(lane)).join('\n');
}

/** What a thread returns: one number, or several that lie side by side. */
export function returned(lanes: number, of: (lane: number) => string): string {
  const each = Array.from({ length: lanes }, (_, lane) => of(lane));
  return lanes === 1 ? `return ${each[0]};` : `return [${each.join(', ')}];`;
}

/** The function of a source. */
export function functionOf(arrays: readonly string[], scalars: readonly string[], body: string): string {
  return `function (${[...arrays, ...scalars].join(', ')}) {\n${body}\n}`;
}
