/** Mistakes of feed-forward layers. */
import { type Activation, multiply } from '../../math/elementwise.js';
import { type Linear, linear } from '../../math/linear.js';
import type { DenseConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { outputsOf } from '../../model/weight-reader.js';
import type { DenseWeights, GatedWeights } from '../../model/weights.js';
import { type Floats, floatsLike, type Tensor } from '../../tensor/tensor.js';
import { denseOf } from '../features/parts.js';
import { dense, denseWeights, matrixOf, valuesOf } from './change.js';
import { type Mutant, type Mutation, type Variant, when } from './mutant.js';

const some = ({ config }: Model, has: (own: DenseConfig) => unknown) =>
  config.layers.some(({ feedForward }) => Boolean(has(denseOf(feedForward))));

/** Names for the same function, and those that are taken for one another. */
const KINDS: Readonly<Record<string, readonly Activation[]>> = {
  'gelu, exact': ['gelu', 'gelu_python'],
  'gelu by tanh': ['gelu_pytorch_tanh', 'gelu_new', 'gelu_fast', 'bloom_gelu'],
  silu: ['silu', 'swish'],
  relu: ['relu'],
  'relu squared': ['relu2'],
  'gelu by a sigmoid': ['quick_gelu'],
};

const kindOf = (activation: Activation) => Object.keys(KINDS).find((kind) => KINDS[kind]!.includes(activation))!;

export const isGelu = (activation: Activation) => kindOf(activation).startsWith('gelu');

const active = (activation: Activation) => dense((own) => ({ ...own, activation }));

/** Other kinds than the model's. */
function otherKinds(model: Model, wanted: (from: Activation) => readonly string[]): readonly Variant[] {
  const own = new Set<Activation>();
  for (const { feedForward } of model.config.layers) {
    const config = denseOf(feedForward);
    if (config.kind === 'plain' || !config.clamp) own.add(config.activation);
  }
  const kinds = new Set([...own].flatMap(wanted));
  return [...kinds].map((kind) => ({ label: kind, parts: active(KINDS[kind]![0]!) }));
}

/** Without biases. */
export const bare = <Own extends DenseWeights>(own: Own): Own =>
  Object.fromEntries(
    Object.entries(own).map(([name, part]) => [name, typeof part === 'string' ? part : { ...part, bias: null }]),
  ) as unknown as Own;

const hasBias = ({ config }: Model) => config.layers.some(({ feedForward }) => denseOf(feedForward).bias);

/** gate and up exchanged. */
export const swapped = <Own extends DenseWeights>(own: Own): Own =>
  own.kind === 'gated' ? { ...own, gate: own.up, up: own.gate } : own;

/** One matrix of gate and up, whose rows lie side by side or by turns, read as if they lay the other way. */
const splitOtherwise =
  (lies: 'by turns' | 'side by side') =>
  <Own extends DenseWeights>(own: Own): Own => {
    if (own.kind !== 'gated') return own;
    const { gate, up } = own as GatedWeights;
    const rows = gate.weight.rows;
    const fused = besideEachOther(gate, up);
    // Row of the fused matrix -> row of [gate; up], as it lies and as it is read.
    const turns = (row: number) => (row % 2) * rows + Math.floor(row / 2);
    const read = (part: number) =>
      Array.from({ length: rows }, (_, row) => (lies === 'by turns' ? turns(part * rows + row) : 2 * row + part));
    return { ...own, gate: outputsOf(fused, read(0)), up: outputsOf(fused, read(1)) };
  };

/** [gate; up] */
function besideEachOther(gate: Linear, up: Linear): Linear {
  const [a, b] = [valuesOf(gate.weight), valuesOf(up.weight)];
  const both = new Float64Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  let bias: Floats | null = null;
  if (gate.bias && up.bias) {
    bias = floatsLike(gate.bias, 2 * gate.bias.length);
    bias.set(gate.bias);
    bias.set(up.bias, gate.bias.length);
  }
  return { ...gate, weight: matrixOf('gate and up', both, 2 * gate.weight.rows, gate.weight.columns), bias };
}

export const FEED_FORWARD_MUTANTS: readonly Mutant[] = [
  {
    name: 'gelu-kind',
    group: 'feed-forward',
    mistake: 'GELU is approximated by tanh (or a sigmoid) where this model has the exact one, or the other way round',
    symptom: 'errors of some ten-thousandths in every row (by a sigmoid: hundredths)',
    fix: 'look at hidden_act: gelu is exact (erf), gelu_new and gelu_pytorch_tanh are by tanh',
    variants: (model) =>
      otherKinds(model, (from) =>
        isGelu(from) ? Object.keys(KINDS).filter((kind) => kind.startsWith('gelu') && kind !== kindOf(from)) : [],
      ),
  },
  {
    name: 'activation',
    group: 'feed-forward',
    mistake: "the activation function is not the model's",
    symptom: 'every row is off, the first too',
    fix: 'look at hidden_act (hidden_activation, activation_function)',
    variants: (model) =>
      otherKinds(model, (from) => {
        if (kindOf(from) === 'relu squared') return ['relu', 'silu', 'gelu, exact'];
        if (kindOf(from) === 'relu') return ['relu squared', 'silu', 'gelu, exact'];
        return isGelu(from) ? ['silu', 'relu'] : ['gelu, exact', 'gelu by tanh', 'relu'];
      }),
  },
  {
    name: 'activation-missing',
    group: 'feed-forward',
    mistake: 'the activation function is left out',
    symptom: 'every row is off, the first too',
    fix: 'apply it to the gate, or to the hidden values where there is none',
    variants: (model) =>
      when(
        model.config.layers.some(({ feedForward }) => feedForward.kind !== 'experts'),
        { splice: hiddenAs(inactive) },
      ),
  },
  {
    name: 'gate-up-swapped',
    group: 'feed-forward',
    mistake: 'the activation is applied to up, and gate is multiplied: the two are exchanged',
    symptom: 'every row is off, the first too',
    fix: 'down(activation(gate x) * up x); look in which order a fused matrix has them',
    variants: (model) =>
      when(
        some(model, ({ kind }) => kind === 'gated'),
        { parts: denseWeights(swapped) },
      ),
  },
  {
    name: 'gate-up-split',
    group: 'feed-forward',
    mistake:
      'a fused matrix of gate and up is split in the wrong order: as if its rows took turns where they lie side by side, or the other way round',
    symptom: 'all rows are garbage, and no shape is wrong',
    fix: 'most have gate first and then up; gpt-oss has them by turns',
    variants: (model) => {
      if (!some(model, ({ kind }) => kind === 'gated')) return [];
      const lies = some(model, (own) => own.kind === 'gated' && own.clamp) ? 'by turns' : 'side by side'; // gpt-oss
      return [{ label: '', parts: denseWeights(splitOtherwise(lies)) }];
    },
  },
  {
    name: 'feed-forward-bias-missing',
    group: 'feed-forward',
    mistake: 'the biases of the feed-forward layers are left out',
    symptom: 'every row is off, the first too',
    fix: 'load fc1.bias and fc2.bias (c_fc, c_proj, dense_h_to_4h, ...)',
    variants: (model) => when(hasBias(model), { parts: denseWeights(bare) }),
  },
  {
    name: 'clamp-missing',
    group: 'feed-forward',
    mistake: 'gate and up are not clamped',
    symptom: 'right where they are small, off where they are not',
    fix: 'clamp the gate from above and up from both sides (swiglu_limit of gpt-oss)',
    variants: (model) =>
      when(
        some(model, (own) => own.kind === 'gated' && own.clamp),
        {
          parts: dense((own) =>
            own.kind === 'gated' && own.clamp ? { ...own, clamp: { ...own.clamp, limit: 1e30 } } : own,
          ),
        },
      ),
  },
  {
    name: 'gate-alpha-missing',
    group: 'feed-forward',
    mistake: 'the gate is a plain silu, where this model sharpens its sigmoid',
    symptom: 'every row is off, the first too',
    fix: 'multiply the gate by sigmoid(alpha x gate), alpha = 1.702 (gpt-oss)',
    variants: (model) =>
      when(
        some(model, (own) => own.kind === 'gated' && own.clamp && own.clamp.alpha !== 1),
        {
          parts: dense((own) =>
            own.kind === 'gated' && own.clamp ? { ...own, clamp: { ...own.clamp, alpha: 1 } } : own,
          ),
        },
      ),
  },
  {
    name: 'up-plus-one-missing',
    group: 'feed-forward',
    mistake: 'up is not raised by one',
    symptom: 'every row is off, the first too',
    fix: '(up + 1) * g sigmoid(alpha g) in gpt-oss',
    variants: (model) =>
      when(
        some(model, (own) => own.kind === 'gated' && own.clamp && own.bias),
        {
          // One less in the bias of up: as long as up lies within the clamp, the same.
          parts: denseWeights((own) => {
            if (own.kind !== 'gated' || !own.up.bias) return own;
            const bias = own.up.bias.slice();
            for (let i = 0; i < bias.length; i++) bias[i] = bias[i]! - 1;
            return { ...own, up: { ...own.up, bias } };
          }),
        },
      ),
  },
];

/** What is hidden before the last projection, made in another way of what goes into a layer that all tokens go through. */
export function hiddenAs(
  make: (x_TD: Tensor, own: DenseWeights, config: DenseConfig) => Tensor,
): NonNullable<Mutation['splice']> {
  return ({ config, weights }) => {
    let input: Tensor | null = null;
    return (point, value) => {
      const found = /^layers\.(\d+)\.(attention\.input|feed_forward\.input|feed_forward\.hidden)$/.exec(point);
      if (!found) return value;
      const layer = Number(found[1]);
      const { parallel, feedForward } = config.layers[layer]!;
      if (found[2] === (parallel === 'one-norm' ? 'attention.input' : 'feed_forward.input')) input = value;
      if (found[2] !== 'feed_forward.hidden' || !input || feedForward.kind === 'experts') return value;
      return make(input, weights.layers[layer]!.feedForward as DenseWeights, feedForward);
    };
  };
}

function inactive(x_TD: Tensor, own: DenseWeights): Tensor {
  const up_TF = linear(x_TD, own.up);
  return own.kind === 'gated' ? multiply(linear(x_TD, own.gate), up_TF) : up_TF;
}
