/**
 * `npm run report:kernels`: the error of every kernel, and of the gpu kernel on every device, against float64 for inputs that are hard, beside what it declares. Errors are rounded
 * up to a power of two: a device's functions may differ in their last places. Ends with an error if one is beyond its bound.
 */
import { closeDevices } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import { KERNELS } from '../../attention/kernel/index.js';
import { ADVERSARIES, truthErrorOf } from '../support/adversarial.js';

const COLUMNS = [
  ['reference', KERNELS.reference],
  ['flash', KERNELS.flash],
  ['gpu, cpu', gpuKernel('cpu')],
  ['gpu, wasm', gpuKernel('wasm')],
  ['gpu, webgpu', gpuKernel('webgpu')],
] as const;

const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
const whole = (value: number) => Math.round(value).toLocaleString('en-US');
let violations = 0;

row(['input', ...COLUMNS.map(([name]) => name)]);
row(Array(1 + COLUMNS.length).fill('---'));
for (const adversary of ADVERSARIES) {
  const cells: string[] = [];
  for (const [, kernel] of COLUMNS) {
    const { error, bound } = await truthErrorOf(kernel, adversary);
    if (!(error <= bound)) violations++;
    cells.push(`${error === 0 ? '0' : `≤ ${whole(2 ** Math.max(Math.ceil(Math.log2(error)), 0))}`} / ${whole(bound)}`);
  }
  row([adversary.name, ...cells]);
}
await closeDevices();
if (violations > 0) throw new Error(`${violations} errors are beyond what is declared`);
