/** What the tables of `touchstone bench attention` do not say: how to read them, where plain TypeScript is faster, and what was not measured. */
import type { BenchedKernel } from '../src/reference/attention-bench/contenders.js';
import type { BenchCell } from '../src/reference/attention-bench/index.js';
import {
  type AttentionBench,
  ENOUGH_CALLS,
  figures,
  hasReference,
  isEmulation,
  PASSES,
  timesOf,
  tokensText,
  wrongOf,
} from './bench-attention-report.js';

export function notesOf({ kernels, cells, leftOut }: AttentionBench): string {
  const lines = [
    'ms: of one call, with the upload of the rows that are new (one in decode, all in prefill), without compiling.',
    'GB/s: of stored rows, each counted once a call. GFLOP/s: additions and multiplications of the keys that queries see. JSON (--json) has both everywhere.',
    ...(hasReference(kernels) ? [PLAIN] : []),
    ...kernels.flatMap((kernel) => comparison(kernel, cells)),
    ...kernels.flatMap((kernel) => deviceText(kernel)),
    ...leftOut.map(({ kernel, reason }) => `Not measured: ${kernel}. ${reason}`),
    ...new Set(cells.flatMap(untried)),
    ...(hasReference(kernels)
      ? agreementTexts(cells)
      : ['Results were not checked: `reference` is not among the kernels.']),
    ...fewTexts(cells),
    ...loadTexts(cells),
  ];
  return lines.map((line) => `- ${line}`).join('\n');
}

const PLAIN =
  'x plain: the time of plain TypeScript (`reference`, the textbook loops) over that of the kernel, turn by turn; below 1 plain TypeScript is faster.';

/** Ratios as near to 1 as this are not called faster or slower. */
const LEVEL = 0.05;

/** Where plain TypeScript is faster. */
function comparison({ name }: BenchedKernel, cells: readonly BenchCell[]): string[] {
  const enough = (cell: BenchCell, kernel: string) => (timesOf(cell, kernel)?.calls ?? 0) >= ENOUGH_CALLS;
  const ratioOf = (cell: BenchCell) => timesOf(cell, name)!.ratio;
  const compared = cells.filter((cell) => name !== 'reference' && enough(cell, 'reference') && enough(cell, name));
  if (compared.length === 0) return [];
  const slower = compared.filter((cell) => ratioOf(cell)! < 1 - LEVEL);
  const level = compared.filter((cell) => Math.abs(ratioOf(cell)! - 1) <= LEVEL).length;
  const where = [0, compared.length].includes(slower.length) ? '' : ` (${placesText(slower)})`;
  return [
    `Plain TypeScript against ${name}: faster in ${slower.length} of ${compared.length}${where}, level within ${100 * LEVEL} % in ${level}, slower in ${compared.length - slower.length - level}.`,
  ];
}

/** decode: gpt2 at 128 and 512, llama-3.1-8b at 128; prefill: ... */
function placesText(cells: readonly BenchCell[]): string {
  const shapes = [...new Set(cells.map(({ shape }) => shape))];
  const passes = PASSES.map((pass) => {
    const each = shapes.map((shape) => {
      const own = cells.filter((cell) => cell.pass === pass && cell.shape === shape);
      return own.length === 0 ? '' : `${shape} at ${own.map(({ tokens }) => tokensText(tokens)).join(' and ')}`;
    });
    const texts = each.filter((text) => text !== '');
    return texts.length === 0 ? '' : `${pass}: ${texts.join(', ')}`;
  });
  return passes.filter((text) => text !== '').join('; ');
}

function deviceText(kernel: BenchedKernel): string[] {
  const { name, device } = kernel;
  if (!device) return [];
  const { ran, about, compiled, compileMs } = device;
  const what = isEmulation(kernel)
    ? `software emulation on the processor (${about}), not a GPU: these times say nothing of one`
    : about;
  const compiling = `${compiled} kernels were compiled in ${figures(compileMs / 1000)} s, which no time includes`;
  return [`${name}: gpu.js ran ${ran.join(', ') || 'nothing'}: ${what}; ${compiling}.`];
}

/** Kernels that were left out of this cell. */
function untried({ shape, pass, leftOut }: BenchCell): string[] {
  return leftOut.map(({ kernel, reason }) => `Not measured (-): ${kernel}, ${pass} ${shape}. ${reason}`);
}

function agreementTexts(cells: readonly BenchCell[]): string[] {
  const wrong = wrongOf(cells).map(({ cell: { pass, shape, tokens }, kernel }) => {
    return `WRONG: ${kernel}, ${pass} ${shape} at T = ${tokensText(tokens)}: its result is not the reference's within its bound, so its time means nothing.`;
  });
  const agreements = cells.flatMap(({ times }) => times.flatMap(({ agreement }) => agreement ?? []));
  if (agreements.length === 0 || wrong.length > 0) return wrong;
  const most = Math.max(...agreements.map(({ difference, bound }) => (difference === 0 ? 0 : difference / bound)));
  return [
    `Every result is the reference's within the kernel's declared bound; the largest difference is ${figures(100 * most)} % of it.`,
  ];
}

function fewTexts(cells: readonly BenchCell[]): string[] {
  const few = cells.some(({ times }) => times.some(({ calls }) => calls < ENOUGH_CALLS));
  return few
    ? [`*: fewer than ${ENOUGH_CALLS} calls, which are slow, and not counted above; more --seconds give more.`]
    : [];
}

/** A kernel of one thread that did not have a processor to itself. */
function loadTexts(cells: readonly BenchCell[]): string[] {
  const shares = cells.flatMap((cell) => timesOf(cell, 'reference')?.processors ?? []);
  const mean = shares.reduce((sum, share) => sum + share, 0) / Math.max(shares.length, 1);
  if (shares.length === 0 || mean > 0.9) return [];
  return [
    `Other programs used this machine: \`reference\` had ${(100 * mean).toFixed(0)} % of a processor on average. Times are longer than on an idle one; by turns, ratios are less so.`,
  ];
}
