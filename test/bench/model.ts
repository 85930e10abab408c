/** Speed of the whole model, warm, on one core: prefill at several lengths and decode, in tokens/s, side by side. */
import { feed } from '../../src/generate/generate.js';
import { loadModel } from '../../src/model/load.js';
import { fixture } from '../support/fixtures.js';

const model = loadModel(fixture('austen-llama'));
const ids = Array.from({ length: 320 }, (_, i) => (i * 37) % model.config.vocabulary);

/** Best of five: tokens/s of feeding ids[from .. to] in chunks. */
async function speed(from: number, to: number, chunk: number): Promise<number> {
  let best = 0;
  for (let round = 0; round < 5; round++) {
    const cache = model.components.newCache();
    if (from > 0) await feed(model, ids.slice(0, from), cache, { from: 0 });
    const start = performance.now();
    await feed(model, ids.slice(0, to), cache, { from, chunk });
    best = Math.max(best, ((to - from) / (performance.now() - start)) * 1000);
  }
  return best;
}

await speed(0, 320, 64);
const decode = await speed(0, 64, 1);
for (const [name, from, to, chunk] of [
  ['decode, tokens 0 to 64', 0, 64, 1],
  ['decode, tokens 256 to 320', 256, 320, 1],
  ['prefill of 64', 0, 64, 64],
  ['prefill of 256', 0, 256, 256],
] as const) {
  const tokensPerSecond = await speed(from, to, chunk);
  console.log(
    `${name.padEnd(28)} ${tokensPerSecond.toFixed(0).padStart(6)} tokens/s  ${(tokensPerSecond / decode).toFixed(2)} x decode`,
  );
}
