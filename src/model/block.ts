/** One block: attention and feed-forward, each a branch of the residual stream. */
import { add, scaled } from '../math/elementwise.js';
import { normalise } from '../math/norm.js';
import type { Tensor } from '../tensor/tensor.js';
import type { BranchConfig, LayerConfig } from './config.js';
import type { BranchWeights, LayerWeights } from './weights.js';

/** What a branch does between its norms: x [T, D] -> [T, D]. */
type Part = (x_TD: Tensor) => Tensor | Promise<Tensor>;

/** x [T, D] -> [T, D] */
export async function block(
  x_TD: Tensor,
  { attentionBranch, feedForwardBranch, parallel }: LayerConfig,
  { attentionNorms, feedForwardNorms }: LayerWeights,
  parts: { readonly attention: Part; readonly feedForward: Part },
): Promise<Tensor> {
  const attended = await branch(x_TD, attentionBranch, attentionNorms, parts.attention);
  const between_TD = joined(attended, attentionBranch, attentionNorms);
  const fed = await branch(parallel ? x_TD : between_TD, feedForwardBranch, feedForwardNorms, parts.feedForward);
  return joined(parallel ? { ...fed, base_TD: between_TD } : fed, feedForwardBranch, feedForwardNorms);
}

/** What a branch made, and what it is to be added to. */
interface Branched {
  readonly base_TD: Tensor;
  readonly made_TD: Tensor;
}

async function branch(x_TD: Tensor, config: BranchConfig, weights: BranchWeights, part: Part): Promise<Branched> {
  const in_TD = config.inputNorm ? normalise(x_TD, config.inputNorm, weights.input!) : x_TD;
  const out_TD = await part(in_TD);
  const normed_TD = config.outputNorm ? normalise(out_TD, config.outputNorm, weights.output!) : out_TD;
  return { base_TD: config.addsToNormed ? in_TD : x_TD, made_TD: scaled(normed_TD, config.scale) };
}

function joined({ base_TD, made_TD }: Branched, { sumNorm }: BranchConfig, weights: BranchWeights): Tensor {
  const sum_TD = add(base_TD, made_TD);
  return sumNorm ? normalise(sum_TD, sumNorm, weights.sum!) : sum_TD;
}
