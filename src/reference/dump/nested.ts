/** Arrays of arrays of numbers -> one flat array and its shape. */

type Fail = (problem: string) => never;

const SPECIAL: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
};

/** @param fail is told of arrays that are ragged, or that hold what is no number */
export function flattened(nested: unknown, fail: Fail): { shape: number[]; values: Float64Array } {
  const shape: number[] = [];
  for (let inner = nested; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  const values = new Float64Array(shape.reduce((product, length) => product * length, 1));
  const path: number[] = [];
  let count = 0;
  const visit = (value: unknown): void => {
    const expected = shape[path.length];
    if (expected === undefined && !Array.isArray(value)) {
      values[count++] = numberOf(value, path, fail);
      return;
    }
    const inner = Array.isArray(value) && value.length === expected ? value : ragged(expected, value, path, fail);
    for (let i = 0; i < inner.length; i++) {
      path.push(i);
      visit(inner[i]);
      path.pop();
    }
  };
  visit(nested);
  return { shape, values };
}

function ragged(expected: number | undefined, value: unknown, path: readonly number[], fail: Fail): never {
  const found = Array.isArray(value) ? `${value.length} values` : JSON.stringify(value);
  const wanted = expected === undefined ? 'a number' : `${expected} values`;
  return fail(`the arrays are ragged: expected ${wanted} at [${path.join(', ')}], got ${found}.`);
}

function numberOf(value: unknown, path: readonly number[], fail: Fail): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string' && Object.hasOwn(SPECIAL, value)) return SPECIAL[value]!;
  return fail(`expected a number at [${path.join(', ')}], got ${JSON.stringify(value)}.`);
}
