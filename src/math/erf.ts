/** Beyond it, 1 - erf(x) is less than half a unit in the last place of 1. */
const SATURATED = 6;

/**
 * The error function in float64, to a few units in the last place: 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (1 3 5 ... (2n+1))
 * (Abramowitz & Stegun 1964, equation 7.1.6). All terms have one sign, so nothing cancels.
 */
export function erf(x: number): number {
  if (Math.abs(x) >= SATURATED) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Number.EPSILON * Math.abs(sum) * 0.25; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
