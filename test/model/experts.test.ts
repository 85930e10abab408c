/** Which experts a token goes to, and what they add up to, written out. */
import { describe, expect, it } from 'vitest';
import type { ExpertsConfig, RouterConfig } from '../../src/model/config.js';
import { mixture } from '../../src/model/experts.js';
import { gated } from '../../src/model/families/decoder.js';
import { routed, softmaxTopK } from '../../src/model/families/experts.js';
import { logitsOf } from '../../src/model/head.js';
import { route } from '../../src/model/router.js';
import type { GatedWeights } from '../../src/model/weights.js';
import { type Floats, flat, tensor } from '../../src/tensor/tensor.js';

const f = Math.fround;
const GROUPED = { kind: 'grouped-sigmoid', groups: 2, groupsPerToken: 1, normalise: true, scale: 1 } as const;

function configOf(count: number, perToken: number, router: RouterConfig): ExpertsConfig {
  const keys = { count: 'count', perToken: 'perToken', groups: 'groups', groupsPerToken: 'groupsPerToken' };
  return routed({ count, perToken, router, expert: gated(1, 'relu') }, 'config.json', keys);
}

/** The experts of one token, and their weights. */
function chosen(logits: Floats, perToken: number, router: RouterConfig, correction: Floats | null = null) {
  const choices = route(tensor(logits, [1, logits.length]), correction, configOf(logits.length, perToken, router));
  return { experts: choices.map(({ expert }) => expert), weights: choices.map(({ weight }) => weight) };
}

describe('a router', () => {
  it.each<RouterConfig>([
    { kind: 'top-k-softmax' },
    { kind: 'top-k-sigmoid' },
    softmaxTopK(true),
    { ...GROUPED, groups: 1 },
  ])('of kind $kind takes the first of equal experts, and names them in their order', (router) => {
    expect(chosen(Float64Array.of(1, 0, 2, 1, 2, 1), 4, router).experts).toEqual([0, 2, 3, 4]);
  });

  it('takes none of a closed group, be the ranks of the open ones negative', () => {
    const logits = Float64Array.of(2, 2, 1, 1);
    const { experts, weights } = chosen(logits, 2, GROUPED, Float64Array.of(-3, -3, -2, -2));
    expect(experts).toEqual([2, 3]);
    expect(weights).toEqual([0.5, 0.5]);
  });

  it('weighs nothing where all of its sigmoids are 0', () => {
    expect(chosen(Float32Array.of(-200, -200, -200, -200), 2, GROUPED).weights).toEqual([0, 0]);
  });

  it('rounds sigmoids, their sum, the quotient and the product with the factor', () => {
    const logits = Float32Array.from({ length: 64 }, (_, e) => Math.sin(e * e));
    const { experts, weights } = chosen(logits, 8, { ...GROUPED, scale: 2.3 });
    const scores = experts.map((e) => f(1 / f(1 + f(Math.exp(-logits[e]!)))));
    const half = (from: number) =>
      scores.filter((_, i) => Math.floor(experts[i]! / 32) === from).reduce((sum, score) => f(sum + score), 0);
    const total = f(half(0) + half(1));
    expect(weights).toEqual(scores.map((score) => f(f(score / total) * f(2.3))));
  });
});

it('a mixture of more experts than a block of sums has gives each token what its own make of it', () => {
  const count = 70;
  const matrix = (values: readonly number[]) => ({
    weight: { name: 'given', dtype: 'F64', rows: values.length, columns: 1, bits: Float64Array.from(values) } as const,
    bias: null,
  });
  /** x -> relu(x) (e + 1) x */
  const expert = (e: number): GatedWeights => ({
    kind: 'gated',
    gate: matrix([1]),
    up: matrix([e + 1]),
    down: matrix([1]),
  });
  const experts = Array.from({ length: count }, (_, e) => expert(e));
  const router = matrix(experts.map((_, e) => (e === 40 || e === 69 ? 1 : 0)));
  const weights = { kind: 'experts', router, correction: null, experts, shared: null } as const;
  const x_TD = tensor(Float64Array.of(1, 2), [2, 1]);
  expect([...flat(mixture(x_TD, weights, configOf(count, 2, softmaxTopK(true))))]).toEqual([111 / 2, (4 * 111) / 2]);
});

it('a head scales its logits before it caps them', () => {
  const output = {
    weight: { name: 'given', dtype: 'F64', rows: 1, columns: 1, bits: Float64Array.of(1) } as const,
    bias: null,
  };
  const config = { tied: false, bias: false, scale: 2, softcap: 3 };
  const [logit] = flat(logitsOf(tensor(Float64Array.of(1), [1, 1]), { projectOut: null, output }, config));
  expect(logit).toBeCloseTo(3 * Math.tanh(2 / 3), 14);
});
