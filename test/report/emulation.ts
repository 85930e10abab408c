/**
 * `npm run report:emulation`: how near the emulation of bfloat16 comes to transformers running in it, beside what the dtype costs, and beside how near
 * transformers comes to itself. With a file that fixtures/generate/emulation.py made by hand: the same of that.
 */
import { type EmulationReport, emulationErrors, readEmulation } from '../support/emulation-errors.js';

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
const families: EmulationReport[] = [];
for (const record of readEmulation(process.argv[2])) {
  const report = await emulationErrors(record);
  const { name, dtype, floor, ours, apart, equalLogits, own } = report;
  if (!own) {
    families.push(report);
    continue;
  }
  row([
    name,
    dtype,
    pair(floor),
    pair(ours),
    pair(apart),
    `${(apart.rms / floor.rms).toFixed(2)} / ${(apart.max / floor.max).toFixed(2)}`,
    (own.cached.rms / floor.rms).toFixed(2),
    `${(100 * equalLogits).toFixed(0)} %`,
    `${own.equal} of ${own.tokens}`,
    `${own.ambiguous}`,
  ]);
}
if (families.length > 0) {
  const ratios = families.map(({ apart, floor }) => apart.rms / floor.rms);
  const exact = families.filter(({ equalLogits }) => equalLogits === 1).length;
  const furthest = families[ratios.indexOf(Math.max(...ratios))]!.name;
  console.log(
    `\n${families.length} random checkpoints of every family: ${exact} have the logits of transformers to the bit, the others lie up to ` +
      `${Math.max(...ratios).toFixed(2)} of the floor from them (RMS; ${furthest}).`,
  );
}
