/** A reference that is made for a dump: our pass over the dump's tokens. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RequestError } from '../../errors.js';
import { removedAtExit } from '../../files.js';
import type { Model } from '../../model/load.js';
import { isEmulated, type Precision } from '../../tensor/tensor.js';
import type { Dump } from '../dump/dump.js';
import { counterpart } from '../trace/counterpart.js';
import { type TraceOptions, writeTrace } from '../trace/index.js';
import type { ComparedDtype } from './comparison.js';
import { openReference, type Reference } from './reference.js';
import { tokensOf } from './rows.js';

export interface ModelOptions extends Pick<TraceOptions, 'prefillChunk' | 'pause' | 'progress' | 'splice'> {
  /** Tokens of the pass, where the dump does not tell them: the prompt, and what was fed after it. */
  readonly ids?: readonly number[] | undefined;
  /** The same checkpoint in the precision whose distance from the model's is the noise; by default it is loaded. */
  readonly noiseOf?: Model | undefined;
  readonly ignoreConfigKeys?: readonly string[] | undefined;
}

/** The tokens that their pass was over. @throws RequestError where nobody tells */
export function idsOf(theirs: Dump, { ids }: ModelOptions): readonly number[] {
  const { inputIds, generatedIds } = tokensOf(theirs);
  if (ids && inputIds && ids.slice(0, inputIds.length).join() !== inputIds.join()) {
    throw new RequestError(`${theirs.path}: its input_ids are not the tokens that were given; leave those out.`);
  }
  const prompt = inputIds ?? ids;
  if (prompt) return prompt.length > 0 ? [...prompt, ...generatedIds.slice(0, -1)] : [];
  throw new RequestError(
    `${theirs.path}: it has no tensor input_ids, so the tokens of its pass must be given: --ids 1,2,3 or --ids-file FILE (in the library: ids).`,
  );
}

/** The two runs whose distance is the noise: the one that is compared with, and the other. */
export function pairFor(
  model: Model,
  dtype: ComparedDtype,
  { noiseOf, ignoreConfigKeys }: ModelOptions,
): { readonly base: Model; readonly other: Model } {
  const own = model.options.precision;
  const load = (precision: Precision) =>
    noiseOf?.options.precision === precision ? noiseOf : counterpart(model, precision, ignoreConfigKeys);
  const run = (precision: Precision) => (own === precision ? model : load(precision));
  if (dtype === 'float64') return { base: run('float64'), other: run('float32') }; // whose noise is scaled to float64's
  if (isEmulated(own)) return { base: model, other: load('float64') }; // what a user asks for
  if (dtype === 'float32') return { base: run('float32'), other: run('float64') };
  return { base: run('float32'), other: load(dtype) };
}

/** Runs both, keeps the points that are asked for in a file until `close`. */
export async function referenceFrom(
  { base, other }: { readonly base: Model; readonly other: Model },
  ids: readonly number[],
  points: (point: string) => boolean,
  { prefillChunk, pause, progress, splice }: ModelOptions,
): Promise<Reference> {
  const folder = mkdtempSync(join(tmpdir(), 'touchstone-'));
  const kept = removedAtExit(folder);
  const remove = () => {
    rmSync(folder, { recursive: true, force: true });
    kept();
  };
  try {
    const path = join(folder, 'trace.safetensors');
    await writeTrace(path, base, ids, {
      capture: 'all',
      points,
      noiseOf: other,
      prefillChunk,
      pause,
      progress,
      splice,
    });
    const reference = openReference(path, nameOf(base));
    const close = () => {
      reference.close();
      remove();
    };
    return { ...reference, close };
  } catch (error) {
    remove();
    throw error;
  }
}

function nameOf({ files, config }: Model): string {
  return files[0]?.replace(/[/\\]config\.json$/, '') ?? `a model of ${config.family}`;
}
