/** Mixture of experts: a router chooses a few feed-forward layers for each token, and their outputs are added by its weights. */
import { add, scaledRows, sigmoid } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import { addScaledInto, addStoredInto, BLOCK, closeBlockInto } from '../math/sum.js';
import { asFloat32, emulationOf, settleInPlace } from '../tensor/emulated.js';
import { type Tap, tapWithin, untapped } from '../tensor/tap.js';
import { flat, rowsOf, type Tensor, tensor, zerosLike } from '../tensor/tensor.js';
import type { ExpertsConfig } from './config.js';
import { gated } from './feed-forward.js';
import { type ExpertChoice, route } from './router.js';
import type { ExpertsWeights } from './weights.js';

/** x [T, D] -> sum over the chosen experts of weight * expert(x), and the shared expert where there is one [T, D]. */
export function mixture(x_TD: Tensor, weights: ExpertsWeights, config: ExpertsConfig, tap: Tap = untapped): Tensor {
  const routerIn_TD = config.routerStores === 'nothing' ? tensor(asFloat32(flat(x_TD)), x_TD.shape) : x_TD;
  const tapRouter = tapWithin(tap, 'router');
  const logits_TE = tapRouter('logits', linear(routerIn_TD, weights.router));
  const choices = tappedChoices(route(logits_TE, weights.correction, config), config.perToken, logits_TE, tapRouter);
  const routed_TD = weighted(x_TD, choices, weights, config);
  if (!weights.shared || !config.shared) return routed_TD;
  const shared_TD = gated(x_TD, weights.shared.feedForward, config.shared.feedForward);
  if (!config.shared.gate) return add(routed_TD, shared_TD);
  return add(routed_TD, scaledRows(shared_TD, flat(sigmoid(linear(x_TD, weights.shared.gate!)))));
}

/** The choices, as a tap of the experts [T, k] and of their weights [T, k] leaves them. */
function tappedChoices(
  choices: readonly ExpertChoice[],
  perToken: number,
  like: Tensor,
  tap: Tap,
): readonly ExpertChoice[] {
  if (tap === untapped) return choices;
  const shape = [choices.length / perToken, perToken];
  const [experts_Tk, weights_Tk] = [zerosLike(like, shape), zerosLike(like, shape)];
  experts_Tk.data.set(choices.map(({ expert }) => expert));
  weights_Tk.data.set(choices.map(({ weight }) => weight));
  const [experts, weights] = [flat(tap('experts', experts_Tk)), flat(tap('weights', weights_Tk))];
  return choices.map(({ token }, i) => ({ token, expert: experts[i]!, weight: weights[i]! }));
}

/**
 * Sums over experts are made as all sums are: in blocks of 32 by index (src/math/sum.ts). In an emulated precision each expert's part is added by an operation
 * (`index_add_` of PyTorch) in order of expert, unless their inputs were weighed (`Llama4TextMoe` adds them all in one).
 */
function weighted(
  x_TD: Tensor,
  choices: readonly ExpertChoice[],
  { experts }: ExpertsWeights,
  { expert, weighs }: ExpertsConfig,
): Tensor {
  const out_TD = zerosLike(x_TD, x_TD.shape);
  const byOperation = weighs === 'output' && emulationOf(x_TD.data) !== null;
  const addInto = byOperation ? addStoredInto : addScaledInto;
  for (let start = 0; start < experts.length; start += BLOCK) {
    const block_TD = byOperation ? out_TD : zerosLike(x_TD, x_TD.shape);
    for (const [e, own] of experts.slice(start, start + BLOCK).entries()) {
      const chosen = choices.filter((choice) => choice.expert === start + e);
      if (chosen.length === 0) continue;
      const own_TD = gathered(x_TD, chosen);
      const factors = chosen.map(({ weight }) => weight);
      const y_TD = gated(weighs === 'input' ? scaledRows(own_TD, factors) : own_TD, own, expert);
      for (const [i, { token, weight }] of chosen.entries()) {
        const factor = weighs === 'input' ? 1 : weight;
        addInto(flat(rowsOf(block_TD, token, token + 1)), factor, flat(rowsOf(y_TD, i, i + 1)), 0);
      }
    }
    if (!byOperation) closeBlockInto(out_TD.data, block_TD.data);
  }
  settleInPlace(out_TD.data);
  return out_TD;
}

/** The rows of the tokens that chose an expert. */
function gathered(x_TD: Tensor, chosen: readonly ExpertChoice[]): Tensor {
  const width = x_TD.shape[1]!;
  const rows = zerosLike(x_TD, [chosen.length, width]);
  for (const [i, { token }] of chosen.entries()) rows.data.set(flat(rowsOf(x_TD, token, token + 1)), i * width);
  return rows;
}
