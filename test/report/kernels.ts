/**
 * `npm run report:kernels`: the error of every kernel, and of the gpu kernel on every device, against float64 for inputs that are hard, beside what it declares; and how far logits
 * of checkpoints are moved. Errors are rounded up to a power of two: a device's functions may differ in their last places. Ends with an error if one is beyond its bound, or
 * if a device cannot be had.
 */
import { closeDevices } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import { KERNELS } from '../../attention/kernel/index.js';
import { loadModel } from '../../src/model/load.js';
import { relationOf } from '../../src/reference/lattice.js';
import { distance, logitsOf, textbook, withChoice } from '../conformance/cases.js';
import { ADVERSARIES, truthErrorOf } from '../support/adversarial.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';

const DEVICES = ['cpu', 'wasm', 'webgpu'] as const;

const COLUMNS = [
  ['reference', KERNELS.reference],
  ['flash', KERNELS.flash],
  ...DEVICES.map((device) => [`gpu on ${device}`, gpuKernel(device)] as const),
] as const;

const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
const whole = (value: number) => Math.round(value).toLocaleString('en-US');
const upTo = (error: number) => (error === 0 ? '0' : whole(2 ** Math.max(Math.ceil(Math.log2(error)), 0)));
let violations = 0;

row(['input', ...COLUMNS.map(([name]) => name)]);
row(Array(1 + COLUMNS.length).fill('---'));
for (const adversary of ADVERSARIES) {
  const cells: string[] = [];
  for (const [, kernel] of COLUMNS) {
    const { error, bound } = await truthErrorOf(kernel, adversary);
    if (!(error <= bound)) violations++;
    cells.push(`${upTo(error)} / ${whole(bound)}`);
  }
  row([adversary.name, ...cells]);
}

console.log();
row(['logits of', ...DEVICES.map((device) => `gpu on ${device}`)]);
row(Array(1 + DEVICES.length).fill('---'));
for (const name of CHECKPOINTS) row([name, ...(await logitsCells(name))]);
await closeDevices();
if (violations > 0) throw new Error(`${violations} errors are beyond what is declared`);

/** How far the logits of 60 tokens are from the reference kernel's on each device. */
async function logitsCells(name: string): Promise<string[]> {
  const model = loadModel(fixture(name));
  const ids = Array.from({ length: 60 }, (_, i) => (i * i * 7 + 3 * i) % model.config.vocabulary);
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const relation = relationOf({ ...plain, kernel: 'gpu' }, plain, model.config, ids.length);
  const expected = await logitsOf(model, ids, 16);
  const cells: string[] = [];
  for (const device of DEVICES) {
    const apart = distance(await logitsOf(withChoice(model, { kernel: 'gpu' }, device), ids, 16), expected);
    if (relation.kind !== 'reordered' || apart > relation.bound) violations++;
    cells.push(`≈${upTo(apart)}`);
  }
  return cells;
}
