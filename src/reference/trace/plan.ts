/** Which tensors a trace will have: found by a pass of one token, so that nothing here could say otherwise than the model does. */
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import { type Watcher, watched } from '../../../attention/kernel/watched.js';
import { assemble, type Model } from '../../model/load.js';
import { forward } from '../../model/transformer.js';
import { EMULATED_DTYPES, emulationOf } from '../../tensor/emulated.js';
import type { Tap } from '../../tensor/tap.js';
import type { Floats } from '../../tensor/tensor.js';
import { type Capture, isKept, isWholeNumbers } from './format.js';
import type { PlannedTensor, TraceDtype } from './sink.js';

/** What of a pass is kept. */
export interface TraceSelection {
  readonly capture: Capture;
  /** Layers by number; all by default. */
  readonly layers?: readonly number[] | undefined;
  /** Rows by absolute position; all by default. */
  readonly positions?: readonly number[] | undefined;
  /** Points by name; all by default. */
  readonly points?: ((point: string) => boolean) | undefined;
}

/** The same model with kernels that tell of themselves; nothing that it computes changes. @param watcherOf for the layer of this number */
export function watchedModel(model: Model, watcherOf: (layer: number) => Watcher): Model {
  const layers = model.components.layers.map((layer, i) => ({ ...layer, kernel: watched(layer.kernel, watcherOf(i)) }));
  return { ...model, components: { ...model.components, layers } };
}

/** What kernels tell of, [R, H, S] each: as long as all tokens of the run. */
export const SCORES = ['scores', 'probabilities'] as const;

/**
 * The tensors of a trace [rows, ...], in the order in which they are computed; those of the run and of caches are not among them.
 * @param id any token @param rows how many rows are kept @param tokens how many tokens the run has, which are as many keys
 */
export async function planOf(
  model: Model,
  id: number,
  { rows, tokens }: { readonly rows: number; readonly tokens: number },
  { capture, layers, points = () => true }: TraceSelection,
): Promise<PlannedTensor[]> {
  const planned: PlannedTensor[] = [];
  const kept = layers ? new Set(layers) : null;
  const plan = (name: string, dtype: TraceDtype, row: readonly number[]) => {
    if (isKept(name, capture, kept) && points(name)) planned.push({ name, dtype, shape: [rows, ...row] });
  };
  const tap: Tap = (point, value) => {
    plan(point, isWholeNumbers(point) ? 'I32' : dtypeOf(value.data), value.shape.slice(1));
    return value;
  };
  const { config, weights, options, files } = model;
  const plain = assemble(config, weights, { ...options, cache: 'contiguous', kvDtype: 'auto' }, files);
  const watcherOf = (layer: number): Watcher => ({
    call: ({ q_THK }: AttentionCall) => {
      for (const name of SCORES) {
        plan(`layers.${layer}.attention.${name}`, dtypeOf(q_THK.data), [q_THK.shape[1]!, tokens]);
      }
    },
  });
  const watching = watchedModel(plain, watcherOf);
  await forward(watching, [{ ids: [id], cache: plain.components.newCache() }], { logits: 'all', tap });
  return planned;
}

/** In which dtype values are written: the one that they were computed in. */
export function dtypeOf(values: Floats): TraceDtype {
  const emulates = emulationOf(values);
  if (emulates) return EMULATED_DTYPES[emulates];
  return values instanceof Float64Array ? 'F64' : 'F32';
}
