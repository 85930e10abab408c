/** The kernel that makes scores, and what a score is besides scale * (q . k). The oracle is `scoresInto` and `adjustInPlace` of ../reference.ts. */
import type { Alibi, ScoreRules } from '../../scores.js';
import type { StoredStream } from '../../stored.js';
import { arraysOf, constantsOf, eachValue } from './reading.js';
import {
  eachLane,
  functionOf,
  HIDDEN,
  type KernelSource,
  LOWEST,
  type Rows,
  returned,
  slotArrays,
  slotOf,
  slotScalars,
} from './source.js';

/** What stands in q after the values of each query row: its position, the oldest position that it sees, and the slope of its head. */
export const QUERY_FACTS = { position: 0, oldest: 1, slope: 2, count: 3 } as const;

/**
 * scores [x 8, y, z]: the key at 8 y + x of the list against the `lanes` query rows of pack z. Packs of one key/value head stand together, `packs` of each.
 * q [packs, K + facts, lanes], already scaled; a key is its parts side by side. For one lane, keys of 64 float32 numbers in a list, and plain scores, it is
 *
 * ```js
 * function (q, slots, positions, part0, count, packs, sinks) {
 *   const i = this.thread.y * 8 + this.thread.x;
 *   const head = Math.floor((this.thread.z + 0.5) / packs);
 *   const slot = slots[i];
 *   const position = positions[i];
 *   let score0 = 0;
 *   let part0At = head * 64;
 *   for (let k = 0; k < 64; k++) {
 *     const value = part0[slot][part0At];
 *     score0 += q[this.thread.z][k][0] * value;
 *     part0At += 1;
 *   }
 *   if (score0 < -3.4e+38) { score0 = -3.4e+38; }
 *   if (i >= count || position > q[this.thread.z][64][0] || (position >= sinks && position < q[this.thread.z][65][0])) { score0 = -3.4028234663852886e+38; }
 *   return score0;
 * }
 * ```
 */
export function scoresSource(
  parts: readonly StoredStream[],
  lanes: number,
  rules: ScoreRules,
  rows: Rows,
): KernelSource {
  const arrays = ['q', ...slotArrays(rows), 'positions', ...parts.flatMap((part, i) => arraysOf(part, `part${i}`))];
  const scalars = ['count', 'packs', 'sinks', ...slotScalars(rows)];
  let width = 0;
  const sums = parts.map((part, i) => {
    const from = width;
    width += part.dim;
    return sumOf(part, `part${i}`, rows, from, lanes);
  });
  const body = `const i = this.thread.y * 8 + this.thread.x;
const head = Math.floor((this.thread.z + 0.5) / packs);
${slotOf(rows)}
const position = positions[i];
${eachLane(lanes, (lane) => `let score${lane} = 0;`)}
${sums.join('\n')}
${eachLane(lanes, (lane) => ruledBy(rules, width, lane))}
${eachLane(lanes, (lane) => maskedBy(width, lane))}
${returned(lanes, (lane) => `score${lane}`)}`;
  const constants = Object.assign({}, ...parts.map(constantsOf)) as Record<string, Float32Array>;
  return { name: 'scores', text: functionOf(arrays, scalars, body), arrays, scalars, constants, lanes };
}

/** Adds the products of one part of the key: each value that is read serves all rows of the pack. */
function sumOf(part: StoredStream, name: string, rows: Rows, from: number, lanes: number): string {
  return eachValue(part, name, rows, (k, value) =>
    eachLane(
      lanes,
      (lane) => `score${lane} += q[this.thread.z][${from > 0 ? `${from} + ` : ''}${k}][${lane}] * ${value};`,
    ),
  );
}

function fact(name: keyof typeof QUERY_FACTS, width: number, lane: number): string {
  return `q[this.thread.z][${width + QUERY_FACTS[name]}][${lane}]`;
}

/** The softcap, then the bias. */
function ruledBy({ softcap, alibi }: ScoreRules, width: number, lane: number): string {
  const capped = softcap === null ? '' : cappedAt(softcap, lane);
  return alibi === null ? capped : `${capped}\n${biasOf(alibi, width, lane)}`;
}

/** cap tanh(score / cap), of exp(-2 |x|): a GPU's own tanh may overflow. */
function cappedAt(cap: number, lane: number): string {
  const part = `capped${lane}`;
  return `let ${part} = Math.abs(score${lane}) / ${literal(cap)};
${part} = Math.exp(-2 * ${part});
${part} = ${literal(cap)} * (1 - ${part}) / (1 + ${part});
if (score${lane} < 0) { ${part} = -${part}; }
score${lane} = ${part};`;
}

function biasOf({ form, factor }: Alibi, width: number, lane: number): string {
  const slope = fact('slope', width, lane);
  if (form === 'distance') {
    return `score${lane} += ${slope} * (position - ${fact('position', width, lane)});`;
  }
  return `${toBfloat16('position', `key${lane}`)}
${toBfloat16(`(${slope} * key${lane})`, `bias${lane}`)}
score${lane} += ${literal(factor)} * bias${lane};`;
}

/** Declares a number that is not negative, rounded to 8 significant bits, ties to even: the unit of its last bit is found by doubling. */
function toBfloat16(value: string, name: string): string {
  return `let ${name}Unit = ${2 ** -40};
for (let d = 0; d < 64; d++) { if (${value} >= 256 * ${name}Unit) { ${name}Unit = 2 * ${name}Unit; } }
const ${name}Parts = ${value} / ${name}Unit;
let ${name}Whole = Math.floor(${name}Parts);
const ${name}Rest = ${name}Parts - ${name}Whole;
const ${name}Odd = ${name}Whole - 2 * Math.floor(${name}Whole * 0.5);
if (${name}Rest > 0.5) { ${name}Whole += 1; }
if (${name}Rest == 0.5) { ${name}Whole += ${name}Odd; }
const ${name} = ${name}Whole * ${name}Unit;`;
}

/** A query sees the sinks, and what lies from its oldest position to its own. NaN stays as it is: a fault must be seen. */
function maskedBy(width: number, lane: number): string {
  return `if (score${lane} < ${LOWEST}) { score${lane} = ${LOWEST}; }
if (i >= count || position > ${fact('position', width, lane)} || (position >= sinks && position < ${fact('oldest', width, lane)})) { score${lane} = ${HIDDEN}; }`;
}

/** A number as text that gpu.js reads as a float. */
function literal(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
