/** The tokens that a post-processor puts around a text. */
import { library } from './library.js';

/** Ids before and after a text's own. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const POST_PROCESSORS = {
  TemplateProcessing: library.TemplateProcessingPostProcessor,
  ByteLevel: library.ByteLevelPostProcessor,
  BertProcessing: library.BertProcessingPostProcessor,
  RobertaProcessing: library.RobertaProcessingPostProcessor,
  Sequence: library.SequencePostProcessor,
};

/** Stands for the text. No token is called so: it would be a lone surrogate. */
const TEXT = '\uD800';

/** @throws Error unless a text is there exactly once and all other tokens are in the vocabulary */
export function around(json: object | null, idOf: (token: string) => number | undefined): Around {
  if (json === null) return { before: [], after: [] };
  const { type } = json as { type: keyof typeof POST_PROCESSORS };
  const { tokens } = new POST_PROCESSORS[type](json).post_process([TEXT], null, true);
  const at = tokens.indexOf(TEXT);
  if (at < 0 || tokens.indexOf(TEXT, at + 1) >= 0) {
    throw new Error('the post_processor has the text of a single sequence not once, but several times or never');
  }
  const ids = tokens.map((token) => (token === TEXT ? -1 : idOf(token)));
  const missing = tokens[ids.indexOf(undefined)];
  if (missing !== undefined) throw new Error(`the post_processor has ${JSON.stringify(missing)}, which is no token`);
  return { before: (ids as number[]).slice(0, at), after: (ids as number[]).slice(at + 1) };
}
