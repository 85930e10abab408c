/** What `touchstone bench attention --svg` draws: time over T, a panel for each shape and pass, a line for each kernel. */
import type { BenchCell } from '../src/reference/attention-bench/index.js';
import {
  type AttentionBench,
  figures,
  isEmulation,
  PASSES,
  shapeText,
  timesOf,
  tokensText,
} from './bench-attention-report.js';
import { type Line, linePlot, type Panel } from './line-plot.js';

export function attentionBenchPlot({ kernels, cells, settings, machine }: AttentionBench): string {
  const passes = PASSES.filter((pass) => cells.some((cell) => cell.pass === pass));
  const shapes = [...new Set(cells.map(({ shape }) => shape))];
  const rows = shapes.map((shape) =>
    passes.map((pass): Panel | null => {
      const own = cells.filter((cell) => cell.shape === shape && cell.pass === pass);
      return { title: `${pass}: ${shapeText(own[0]!)}`, lines: kernels.map(({ name }) => lineOf(name, own)) };
    }),
  );
  return linePlot({
    title: 'Time of one attention call over T',
    subtitle: `one layer, one sequence, rows in ${settings.dtype}; lower is faster; ${machine.processor}, Node ${machine.node}`,
    names: kernels.map((kernel) => ({
      name: kernel.name,
      text: legendOf(kernel.name, isEmulation(kernel)),
      dashed: isEmulation(kernel),
    })),
    rows,
    xLabel: 'T, tokens',
    xText: tokensText,
    yText: msText,
  });
}

const TEXTS: Readonly<Record<string, string>> = {
  reference: 'reference (plain TypeScript)',
  flash: 'flash (TypeScript)',
  cpu: 'gpu.js cpu',
  wasm: 'gpu.js wasm',
  webgpu: 'gpu.js webgpu',
};

function legendOf(name: string, emulation: boolean): string {
  return `${TEXTS[name] ?? name}${emulation ? ' (software, not a GPU)' : ''}`;
}

function lineOf(name: string, cells: readonly BenchCell[]): Line {
  const points = cells.flatMap((cell) => {
    const times = timesOf(cell, name);
    return times ? [{ x: cell.tokens, y: times.medianMs }] : [];
  });
  return { name, points };
}

/** 0.02 ms, 10 ms, 2 s. */
function msText(ms: number): string {
  const [value, unit] = ms >= 1000 ? [ms / 1000, 's'] : [ms, 'ms'];
  return `${figures(value)} ${unit}`;
}
