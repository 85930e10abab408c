/** The README of a kit, for someone who has neither Node nor Python. */
import { VERSION } from '../../version.js';
import type { KitRecipe } from './recipes.js';
import type { KitVariant } from './variants.js';

export function kitReadme(recipes: readonly KitRecipe[], variants: readonly KitVariant[]): string {
  const checkpoints = recipes.map(({ name, tests, dtype }) => `| \`${name}\` | ${dtype} | ${tests} |`);
  const others = variants.map(({ checkpoint, name, tests }) => `| \`${checkpoint}.${name}\` | ${tests} |`);
  const parts = [
    INTRODUCTION,
    table(['checkpoint', 'weights', 'what it tests'], checkpoints),
    ...(others.length > 0 ? [OTHERS, table(['trace', 'what it tests'], others)] : []),
    ORDER,
    PASSING,
    FORMAT,
    COMPARE,
    `Made by touchstone ${VERSION}. The weights are random: no text comes out, and none is needed.`,
  ];
  return `${parts.join('\n\n')}\n`;
}

function table(heading: readonly string[], rows: readonly string[]): string {
  return [`| ${heading.join(' | ')} |`, `|${' --- |'.repeat(heading.length)}`, ...rows].join('\n');
}

const INTRODUCTION = `# Conformance kit for decoder-only transformers

Is your implementation right, and if it is not, where does it go wrong? This folder answers both, offline and in any language. It holds

- \`checkpoints/NAME/\`: small models in Hugging Face form, \`config.json\` and \`model.safetensors\`;
- \`prompts.json\`: for each of them the tokens to feed (\`input_ids\`) and those that a greedy choice adds (\`generated_ids\`);
- \`traces/NAME.safetensors\`: everything that a forward pass computes on the way, in the order in which it does, with how far rounding may take it;
- \`TRACE.md\`: what each tensor of a trace is; \`schema.json\`: the JSON Schema of a trace's metadata;
- \`manifest.json\`: the SHA-256 of each file.

## What is tested

Two layers each, 35 tokens of prompt and 3 that are generated.`;

const OTHERS = 'The same checkpoints run otherwise:';

const ORDER = `## In which order

1. Read a safetensors file (below), and check a few numbers of \`checkpoints/mha\` by eye.
2. Feed the whole prompt of \`mha\` and compare tensor by tensor **in the order of TRACE.md**: \`embeddings\`, then layer 0 from \`attention.input\` to \`output\`,
   then layer 1, then \`final_norm\` and \`logits\`. The first tensor that does not pass is where the mistake is; what comes after it only inherits it.
   The first wrong *position* says much too: wrong from position 0 on is a weight, a norm or an activation; \`attention.heads\` right at 0 and wrong from 1 on is a
   rotation, the scale or the mask (at position 0 nothing turns, and there is one key); right up to 7 and wrong from 8 on is a window of 8.
3. Generate: feed the prompt, then \`generated_ids\` but the last, one at a time, from your cache. Rows 35 and 36 of each tensor are those steps; nothing may differ from feeding all 37 tokens at once.
4. Go on with the next checkpoint of the table: each adds little to the one before it.
5. For a cache or a kernel of your own, take the trace of a variant. \`layers.N.cache.*\` are the rows that are there when the last token (position 36) has its turn, in blocks. For pages, fill a pool with
   NaN, put block i at page \`block_table[i]\`, and let the last row of \`layers.N.attention.q_rope\` attend to it: what comes out must be the last row of \`layers.N.attention.heads\`.`;

const PASSING = `## What passes

Everything in a trace was computed in float32. The tensor \`noise.X\` [R, 2] tells for each row of X how far that lies from the same computed in float64: the root of the mean of the squares, and
the greatest distance. **A value passes if |yours - ours| <= 8 x max(the greatest distance of its row, the mean of the greatest distances of all rows, 2^-24 x the largest finite magnitude of its row)**; what is
-inf must be -inf in yours, and whole numbers must be equal. (\`layers.N.cache.k\` and \`.v\` have the noise of \`attention.k_rope\`, or \`k\`, and \`v\`; \`margins\` twice that of the logits.)

Another order of the same sums stays below three quarters of that; most mistakes lie thousands of times above it. If you compute in a narrower dtype, multiply by 65,536 for bfloat16 and by
8,192 for float16, and do not expect mistakes in the last bits to be seen. \`generated_ids\` must be equal: \`margins\` says by how much each was chosen, always more than noise.

\`router.experts\` are ascending by number, with their weights beside them; sort yours.`;

const COMPARE = `## With touchstone at hand

\`touchstone compare YOURS --golden traces/NAME.safetensors\` holds tensors that you computed in float32 and saved against a trace, and finds the first that differs;
\`layers.N.cache.*\`, \`block_table\` and \`margins\` it leaves to you. The rule above is simpler than its own, which takes in place of the mean the upper quartile of the rows' noise in proportion to their
size, and judges the root of the mean of the squares as well: for single values the rule above is mostly a little narrower, and wider for rows smaller than most.`;

const FORMAT = `## How to read a safetensors file

1. Eight bytes: an unsigned 64-bit little-endian number n.
2. n bytes: a JSON object in UTF-8, padded with spaces. \`__metadata__\` is an object of strings; every other key is a tensor's name, with
   \`{"dtype": "F32", "shape": [37, 4, 10], "data_offsets": [begin, end]}\`.
3. The rest of the file is data. A tensor's bytes are [8 + n + begin, 8 + n + end), little-endian, row-major (the last axis varies fastest), without gaps between values.
4. Dtypes here: \`F32\` (4 bytes), \`BF16\` (2 bytes, the upper half of a float32: shift it left by 16), \`I32\` and \`I64\` (signed).

Weights of linear layers are stored [outputs, inputs], so y = W x, but for \`learned\`, whose matrices (\`c_attn\`, \`c_proj\`, \`c_fc\`) are [inputs, outputs], and the experts of \`sinks\`.`;
