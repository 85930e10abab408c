/** What a dump tells of its run: tokens and positions, under whatever name. */
import { RequestError } from '../../errors.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import type { NameMap } from '../dump/name-map.js';
import { RUN_NAMES, type RunName, runName } from '../dump/run-names.js';

/** The same dump, with the names that a trace has for tokens and positions. A name that a user's table or the trace itself has comes first. */
export function withRunNames(dump: Dump, map: NameMap | undefined): Dump {
  const tensors = new Map<string, DumpTensor>();
  const taken = new Set<RunName>(RUN_NAMES.filter((name) => dump.tensors.has(name)));
  for (const [name, tensor] of dump.tensors) {
    const said = RUN_NAMES.find((own) => own === map?.(name));
    const own = said ?? runName(name);
    const renamed = own !== null && own !== name && (said !== undefined || !taken.has(own));
    if (renamed) taken.add(own);
    if (renamed) tensors.set(own, { ...tensor, name: own, read: () => tensor.read() });
    else if (!tensors.has(name)) tensors.set(name, tensor);
  }
  return { ...dump, tensors, close: () => dump.close() };
}

/** One sequence of whole numbers, by name; null: there is none. @throws RequestError for a batch of several */
export function sequenceOf(dump: Dump, name: RunName): number[] | null {
  const tensor = dump.tensors.get(name);
  if (!tensor) return null;
  if (tensor.shape.slice(0, -1).every((length) => length === 1)) {
    const values = [...tensor.read()];
    if (name !== 'positions' || new Set(values).size === values.length) return values;
    throw new RequestError(`${dump.path}: positions has some positions more than once; expected one row for each.`);
  }
  throw new RequestError(
    `${dump.path}: ${name} has shape [${tensor.shape.join(', ')}]; expected one sequence: dump one of the batch.`,
  );
}
