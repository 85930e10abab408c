/** A model that says what it is told: token i is followed by token i + 1, whatever came before. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensorsOf, writeTensors } from './checkpoint.js';

const ONE = 0x3f80; // in bfloat16
const WIDTH = 64;

/**
 * Rewrites a copy of `tiny-llama-linear-bf16` (width 64, 256 tokens, a head of its own): the embedding of token i is the i-th unit vector, layers add
 * nothing, and the head of token i + 1 looks for it. @param tokens byte-level tokens by id, at most 64, in the spelling of GPT-2
 */
export function makeChain(folder: string, tokens: readonly string[]): void {
  const rigged = tensorsOf(folder).map((tensor) => {
    const data = new Uint16Array(tensor.data.length);
    if (tensor.name.includes('norm')) data.fill(ONE);
    if (tensor.name === 'model.embed_tokens.weight') for (let i = 0; i < WIDTH; i++) data[i * WIDTH + i] = ONE;
    if (tensor.name === 'lm_head.weight') for (let i = 0; i < WIDTH; i++) data[(i + 1) * WIDTH + i] = ONE;
    return { ...tensor, data };
  });
  writeTensors(folder, rigged);
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: 'BPE', vocab, merges: [] };
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ added_tokens: [], pre_tokenizer: byteLevel, decoder: byteLevel, model }),
  );
}
