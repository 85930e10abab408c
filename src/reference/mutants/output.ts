/** Mistakes of the embedding and of the output head. */
import { roundToBfloat16 } from '../../tensor/dtype.js';
import { rowsOfMatrix } from '../../tensor/matrix.js';
import { embedding, head, headWeights, matrixOf, valuesOf } from './change.js';
import { type Mutant, when } from './mutant.js';

export const OUTPUT_MUTANTS: readonly Mutant[] = [
  {
    name: 'embedding-factor-missing',
    group: 'embedding and output',
    mistake: 'embedded tokens are not multiplied by their factor',
    symptom: 'every row is off, the first too',
    fix: 'multiply by sqrt(D) (Gemma), or by embedding_multiplier (Granite), scale_emb (MiniCPM)',
    variants: ({ config }) => when(config.embedding.scale !== 1, { parts: embedding({ scale: 1 }) }),
  },
  {
    name: 'embedding-factor-rounded',
    group: 'embedding and output',
    mistake:
      'the factor of embedded tokens is rounded to bfloat16, as Gemma was trained, where this model has it whole',
    symptom: 'every row is off by a part in a thousand or less, embeddings too',
    fix: "round sqrt(D) where the pass is in bfloat16 alone (transformers makes it a tensor of the model's dtype)",
    variants: ({ config: { embedding: own } }) =>
      when(!own.norm && Math.abs(roundToBfloat16(own.scale) / own.scale - 1) > 1e-6, {
        parts: embedding({ scale: roundToBfloat16(own.scale) }),
      }),
  },
  {
    name: 'embedding-factor-extra',
    group: 'embedding and output',
    mistake: 'embedded tokens are multiplied by sqrt(D), as in Gemma, which this model does not do',
    symptom: 'every row is off, the first too',
    fix: 'take the rows of the embedding as they are',
    variants: ({ config }) =>
      when(config.embedding.scale === 1 && !config.embedding.norm, {
        parts: embedding({ scale: Math.sqrt(config.width) }),
      }),
  },
  {
    name: 'head-tied',
    group: 'embedding and output',
    mistake: 'the embedding is taken for the output head, where this model has a head of its own',
    symptom: 'all layers are right, and logits are garbage',
    fix: 'load lm_head.weight (tie_word_embeddings is false)',
    variants: ({ config }) =>
      when(!config.head.tied && config.embedding.width === config.width, {
        parts: headWeights((output, weights) => ({ ...output, weight: weights.embedding.tokens })),
      }),
  },
  {
    name: 'head-untied',
    group: 'embedding and output',
    mistake: 'the output head, which is the embedding in this model, was left as it was made: zeros',
    symptom:
      'all layers are right, and all logits are zero (or garbage, where it was made of random numbers, which nobody can reproduce)',
    fix: 'tie it to the embedding (tie_word_embeddings is true, and there is no lm_head.weight)',
    variants: ({ config }) =>
      when(config.head.tied, {
        parts: headWeights((output) => {
          const { name, rows, columns } = output.weight;
          return { ...output, weight: matrixOf(name, new Float64Array(rows * columns), rows, columns) };
        }),
      }),
  },
  {
    name: 'head-transposed',
    group: 'embedding and output',
    mistake: 'the bytes of the output head [N, D] are read as [D, N]',
    symptom: 'all layers are right, and logits are garbage, with no shape wrong',
    fix: 'one row a token of the vocabulary: logits = x W^T',
    variants: () => [
      {
        label: '',
        parts: headWeights((output) => {
          const { name, rows, columns } = output.weight;
          const [from, to] = [valuesOf(output.weight), new Float64Array(rows * columns)];
          for (let n = 0; n < rows; n++) for (let d = 0; d < columns; d++) to[n * columns + d] = from[d * rows + n]!;
          return { ...output, weight: matrixOf(name, to, rows, columns) };
        }),
      },
    ],
  },
  {
    name: 'head-bias-missing',
    group: 'embedding and output',
    mistake: 'the bias of the output head is left out',
    symptom: 'all layers are right, and every row of logits is off by the same amount',
    fix: 'load lm_head.bias',
    variants: ({ config }) => when(config.head.bias, { parts: headWeights((output) => ({ ...output, bias: null })) }),
  },
  {
    name: 'logit-factor-missing',
    group: 'embedding and output',
    mistake: 'logits are not multiplied by their factor',
    symptom: 'all layers are right, and all logits are wrong by one factor',
    fix: 'logit_scale (Cohere), 1 / logits_scaling (Granite), D / dim_model_base (MiniCPM)',
    variants: ({ config }) => when(config.head.scale !== 1, { parts: head({ scale: 1 }) }),
  },
  {
    name: 'logit-factor-inverted',
    group: 'embedding and output',
    mistake: 'logits are divided by their factor where they should be multiplied, or the other way round',
    symptom: 'all layers are right, and all logits are wrong by one factor',
    fix: 'Cohere multiplies by logit_scale, Granite divides by logits_scaling',
    variants: ({ config }) => when(config.head.scale !== 1, { parts: head({ scale: 1 / config.head.scale }) }),
  },
  {
    name: 'logit-softcap-missing',
    group: 'embedding and output',
    mistake: 'logits are not capped',
    symptom: 'all layers are right, and large logits are too large',
    fix: 'cap tanh(logit / cap) (final_logit_softcapping)',
    variants: ({ config }) => when(config.head.softcap !== null, { parts: head({ softcap: null }) }),
  },
  {
    name: 'embedding-row-off-by-one',
    group: 'embedding and output',
    mistake:
      'each token is embedded with the row before its own: an offset in the vocabulary (added tokens, padding row)',
    symptom: 'all rows are garbage',
    fix: 'token id i is row i',
    variants: () => [
      {
        label: '',
        parts: ({ config, weights }) => {
          const { tokens } = weights.embedding;
          const values = valuesOf(tokens);
          const shifted = new Float64Array(values.length);
          shifted.set(valuesOf(rowsOfMatrix(tokens, 0, tokens.rows - 1)), tokens.columns);
          shifted.set(values.subarray(values.length - tokens.columns));
          const moved = matrixOf(tokens.name, shifted, tokens.rows, tokens.columns);
          return { config, weights: { ...weights, embedding: { ...weights.embedding, tokens: moved } } };
        },
      },
    ],
  },
];
