/** One block: attention and feed-forward, each a branch of the residual stream. */
import { add, scaled } from '../math/elementwise.js';
import { normalise } from '../math/norm.js';
import { emulationOf } from '../tensor/emulated.js';
import { type Tap, tapWithin } from '../tensor/tap.js';
import type { Tensor } from '../tensor/tensor.js';
import type { BranchConfig, LayerConfig } from './config.js';
import type { BranchWeights, LayerWeights } from './weights.js';

/** What a branch does between its norms: x [T, D] -> [T, D]. */
type Part = (x_TD: Tensor) => Tensor | Promise<Tensor>;

/**
 * x [T, D] -> [T, D]. One part after the other: y = x + attention(norm x), z = y + feedForward(norm y). In parallel:
 * z = x + attention(norm x) + feedForward(norm x).
 */
export async function block(
  x_TD: Tensor,
  { attentionBranch, feedForwardBranch, parallel, addsBranchesFirst = false }: LayerConfig,
  { attentionNorms, feedForwardNorms }: LayerWeights,
  parts: { readonly attention: Part; readonly feedForward: Part; readonly tap: Tap },
): Promise<Tensor> {
  const { tap } = parts;
  const [tapAttention, tapFeedForward] = [tapWithin(tap, 'attention'), tapWithin(tap, 'feed_forward')];
  const in_TD = inputOf(x_TD, attentionBranch, attentionNorms, tapAttention);
  const attended_TD = outputOf(await parts.attention(in_TD), attentionBranch, attentionNorms, tapAttention);
  if (parallel) {
    const fedIn_TD =
      parallel === 'one-norm' ? in_TD : inputOf(x_TD, feedForwardBranch, feedForwardNorms, tapFeedForward);
    const fed_TD = outputOf(await parts.feedForward(fedIn_TD), feedForwardBranch, feedForwardNorms, tapFeedForward);
    const first = addsBranchesFirst && emulationOf(x_TD.data) !== null;
    return tap('output', first ? add(x_TD, add(attended_TD, fed_TD)) : add(add(x_TD, attended_TD), fed_TD));
  }
  const sum_TD = addResidual(attended_TD, x_TD, in_TD, attentionBranch, attentionNorms);
  const between_TD = tapAttention('residual', sum_TD);
  const fedIn_TD = inputOf(between_TD, feedForwardBranch, feedForwardNorms, tapFeedForward);
  const fed_TD = outputOf(await parts.feedForward(fedIn_TD), feedForwardBranch, feedForwardNorms, tapFeedForward);
  return tap('output', addResidual(fed_TD, between_TD, fedIn_TD, feedForwardBranch, feedForwardNorms));
}

function inputOf(x_TD: Tensor, { inputNorm }: BranchConfig, weights: BranchWeights, tap: Tap): Tensor {
  return tap('input', inputNorm ? normalise(x_TD, inputNorm, weights.input!) : x_TD);
}

function outputOf(made_TD: Tensor, { outputNorm, scale }: BranchConfig, weights: BranchWeights, tap: Tap): Tensor {
  const out_TD = tap('output', made_TD);
  return scaled(outputNorm ? tap('output_norm', normalise(out_TD, outputNorm, weights.output!)) : out_TD, scale);
}

function addResidual(
  made_TD: Tensor,
  x_TD: Tensor,
  in_TD: Tensor,
  { addsToNormed, sumNorm }: BranchConfig,
  weights: BranchWeights,
): Tensor {
  const sum_TD = add(addsToNormed ? in_TD : x_TD, made_TD);
  return sumNorm ? normalise(sum_TD, sumNorm, weights.sum!) : sum_TD;
}
