/** The folder of the model that a command is given: a path, or owner/name from the hub. */
import { modelFolder } from '../src/checkpoint/hub/model-folder.js';
import type { ModelNeed } from '../src/checkpoint/hub/wanted.js';
import { bytesText } from './bytes.js';
import { Interrupted } from './interrupted.js';
import { progressBar, withBar } from './progress.js';

/** What `--model` and its like may be. */
export const MODEL = 'checkpoint folder in Hugging Face form, or owner/name[@revision] of the hub';

/** Downloads what is missing of a model of the hub, with a bar. Ctrl-C leaves what has been received, to go on from. */
export async function folderOf(model: string, need: ModelNeed = 'text'): Promise<string> {
  const stop = new AbortController();
  const interrupt = () => stop.abort(new Interrupted());
  process.on('SIGINT', interrupt);
  try {
    return await withBar(progressBar(`download ${model}`, bytesText, { patience: 0 }), ({ update }) =>
      modelFolder(model, {
        need,
        signal: stop.signal,
        progress: ({ bytes }) => update(bytes.done, bytes.total),
        warn: (message) => void process.stderr.write(`touchstone: ${message}\n`),
      }),
    );
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}
