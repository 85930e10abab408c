/**
 * `npm run report:emulation`: how near the emulation of bfloat16 comes to transformers running in it, beside what the dtype costs, and beside how near
 * transformers comes to itself. With a file that fixtures/generate/emulation.py made by hand: the same of that.
 */
import { emulationErrors, readEmulation } from '../support/emulation-errors.js';

const digits = (value: number) => (value === 0 ? '0' : value.toExponential(1));
const pair = ({ rms, max }: { rms: number; max: number }) => `${digits(rms)} / ${digits(max)}`;
const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);

row([
  'checkpoint',
  'dtype',
  'floor: transformers - truth (RMS / max)',
  'ours - truth',
  'ours - transformers',
  'over the floor',
  'transformers, cached - whole, over the floor',
  'logits equal',
  'tokens equal',
  'ambiguous',
]);
row(Array(10).fill('---'));
const ratios: number[] = [];
for (const record of readEmulation(process.argv[2])) {
  const { name, dtype, floor, ours, apart, cached, equalLogits, ...found } = await emulationErrors(record);
  ratios.push(apart.rms / floor.rms);
  row([
    name,
    dtype,
    pair(floor),
    pair(ours),
    pair(apart),
    `${(apart.rms / floor.rms).toFixed(2)} / ${(apart.max / floor.max).toFixed(2)}`,
    `${(cached.rms / floor.rms).toFixed(2)}`,
    `${(100 * equalLogits).toFixed(0)} %`,
    `${found.tokensEqual} of ${found.tokens}`,
    `${found.ambiguous}`,
  ]);
}
console.log(
  `\n${ratios.length} checkpoints: the difference from transformers is ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)} of the floor (RMS).`,
);
