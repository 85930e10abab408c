/** What `--stats` and `--json` say of a run. */

import type { DeviceReport } from '../attention/kernel/kernel.js';
import type { Moved } from '../attention/kernel/scratch.js';
import type { AttentionCounter } from '../attention/layer.js';
import { aboutDevice } from './devices-text.js';

/** Adds up wall-clock time by phase. */
export class Stopwatch {
  private last = performance.now();
  readonly ms: Record<'load' | 'prefill' | 'decode', number> = { load: 0, prefill: 0, decode: 0 };

  /** The time since the last lap belongs to this phase. */
  lap(phase: 'load' | 'prefill' | 'decode'): void {
    const now = performance.now();
    this.ms[phase] += now - this.last;
    this.last = now;
  }
}

export interface Stats {
  readonly load_ms: number;
  readonly prefill_tokens: number;
  readonly prefill_ms: number;
  /** Tokens made after the first, which prefill makes. */
  readonly decode_tokens: number;
  readonly decode_ms: number;
  readonly kv_bytes_used: number;
  readonly kv_bytes_allocated: number;
  /** Tokens whose keys and values were computed, and found stored, counted in each layer and averaged over layers. */
  readonly kv_rows_computed: number;
  readonly kv_rows_reused: number;
  /** The most bytes that an attention kernel took at once beside its inputs and outputs. */
  readonly scratch_bytes: number;
  /** What the kernel ran on; null: on no device. */
  readonly device: DeviceStats | null;
}

interface DeviceStats {
  readonly name: string;
  /** What gpu.js says that it ran. */
  readonly ran: readonly string[];
  readonly about: string;
  readonly software: boolean;
  readonly passed_over: readonly string[];
  readonly kernels_compiled: number;
  readonly compile_ms: number;
  /** Held by its arrays when the run was over. */
  readonly bytes: number;
  /** By all tokens of the phase together. */
  readonly prefill_moved: Moved;
  readonly decode_moved: Moved;
}

interface Measured {
  /** Of each continuation. */
  readonly newTokens: readonly number[];
  readonly counter: AttentionCounter;
  readonly layers: number;
  readonly bytes: { readonly used: number; readonly allocated: number };
  readonly device: DeviceReport | null;
  /** Bytes that moved to and from it. */
  readonly moved: Readonly<Record<'prefill' | 'decode', Moved>>;
}

export function statsOf({ ms }: Stopwatch, fed: number, measured: Measured): Stats {
  const { newTokens, counter, layers, bytes } = measured;
  return {
    load_ms: round(ms.load),
    prefill_tokens: counter.computed > 0 ? fed : 0,
    prefill_ms: round(ms.prefill),
    decode_tokens: newTokens.reduce((sum, tokens) => sum + Math.max(tokens - 1, 0), 0),
    decode_ms: round(ms.decode),
    kv_bytes_used: bytes.used,
    kv_bytes_allocated: bytes.allocated,
    kv_rows_computed: counter.computed / layers,
    kv_rows_reused: counter.reused / layers,
    scratch_bytes: counter.scratch.peakBytes,
    device: measured.device && deviceStats(measured.device, measured.moved),
  };
}

function deviceStats(report: DeviceReport, moved: Measured['moved']): DeviceStats {
  const { name, ran, about, software, passedOver: passed_over, compiled, compileMs, bytes } = report;
  const compile = { kernels_compiled: compiled, compile_ms: round(compileMs) };
  const { prefill: prefill_moved, decode: decode_moved } = moved;
  return { name, ran, about, software, passed_over, ...compile, bytes, prefill_moved, decode_moved };
}

/** Tokens in a time, and how many a second. */
export function speedText(tokens: number, ms: number): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const speed = ms > 0 ? ` (${number(Math.round((tokens / ms) * 1000))} tokens/s)` : '';
  return `${number(tokens)} tokens in ${number(round(ms))} ms${speed}`;
}

export function statsText(stats: Stats, seed: number, sampled: boolean): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const lines = [
    ['load', `${number(stats.load_ms)} ms`],
    ['prefill', speedText(stats.prefill_tokens, stats.prefill_ms)],
    ['decode', speedText(stats.decode_tokens, stats.decode_ms)],
    ['KV bytes', `${number(stats.kv_bytes_used)} used, ${number(stats.kv_bytes_allocated)} allocated`],
    ['KV rows', `${number(stats.kv_rows_computed)} computed, ${number(stats.kv_rows_reused)} reused (a layer)`],
    ['scratch', `${number(stats.scratch_bytes)} bytes at most in an attention kernel`],
    ...(stats.device ? deviceLines(stats.device, stats.decode_tokens, number) : []),
    ...(sampled ? [['seed', String(seed)]] : []),
  ];
  return `\n${lines.map(([name, value]) => `${name!.padEnd(9)} ${value}`).join('\n')}\n`;
}

function deviceLines(device: DeviceStats, steps: number, number: (value: number) => string): string[][] {
  const { name, ran, passed_over, kernels_compiled, compile_ms, bytes, prefill_moved, decode_moved: decode } = device;
  const each = (value: number) => number(Math.round(value / Math.max(steps, 1)));
  const staged = decode.staged > 0 ? `, ${each(decode.staged)} staged` : '';
  return [
    ['device', `${name} (gpu.js ran ${ran.join(', ') || 'nothing'}): ${aboutDevice(device)}`],
    ...passed_over.map((reason) => [
      '',
      `not ${reason
        .replace(/^Device (\w+)/, '$1')
        .replace(/^(\w+) is /, '$1: ')
        .replace(/; .*$/, '')}`,
    ]),
    ['compiled', `${kernels_compiled} kernels in ${number(compile_ms)} ms`],
    ['moved', `prefill: ${number(prefill_moved.uploaded)} bytes up, ${number(prefill_moved.downloaded)} down`],
    ['', `a decode step: ${each(decode.uploaded)} bytes up, ${each(decode.downloaded)} down${staged}`],
    ['on device', `${number(bytes)} bytes`],
  ];
}

/** To a tenth. */
export function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
