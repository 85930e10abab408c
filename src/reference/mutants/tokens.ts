/** Mistakes in what a model is fed. */
import type { Mutant } from './mutant.js';

/** Ids that tokenizers pad with: the first, the end of a text of Llama, and the last of a vocabulary (GPT-2). */
function paddingIds(vocabulary: number): number[] {
  return [...new Set([0, 2, vocabulary - 1])].filter((id) => id < vocabulary);
}

const PADDING = [1, 2, 4];

export const TOKEN_MUTANTS: readonly Mutant[] = [
  {
    name: 'bos-twice',
    group: 'tokens',
    mistake: 'the first token (BOS) is fed twice, once by the tokenizer and once by a template',
    symptom: 'every row is off, the text stays sensible, and positions are one further',
    fix: 'tokenise without special tokens where the template has written them',
    variants: () => [{ label: '', feeds: (ids) => ({ ids: [ids[0]!, ...ids], first: 1 }) }],
    sameAs: { 'padding-seen': 'one token of padding that is the first token' },
  },
  {
    name: 'bos-missing',
    group: 'tokens',
    mistake: 'the first token (BOS) is not fed',
    symptom: 'every row is off, the first ones most',
    fix: 'feed the tokens as the tokenizer makes them, with the special ones',
    variants: () => [{ label: '', feeds: (ids) => ({ ids: ids.slice(1), first: -1 }) }],
  },
  {
    name: 'padding-seen',
    group: 'tokens',
    mistake: 'padding on the left is seen by the tokens after it, and takes positions',
    symptom: 'a sequence alone is right, and wrong in a batch with longer ones',
    fix: 'mask the padding, and count positions from the first real token',
    variants: ({ config }) =>
      PADDING.flatMap((count) =>
        paddingIds(config.vocabulary).map((id) => ({
          label: `${count} x token ${id}`,
          feeds: (ids: readonly number[]) => ({ ids: [...Array(count).fill(id), ...ids], first: count }),
        })),
      ),
  },
];
