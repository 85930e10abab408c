/** The order of a pass, and what a dump holds beside what a pass computes. */
import { RUN_NAMES } from '../dump/run-names.js';
import { kindOfPoint, layerOfPoint, TRACE_AXES } from '../trace/format.js';

/** Tokens, positions and bookkeeping: compared by themselves, or not at all. */
export function isBeside(name: string): boolean {
  return BESIDE.test(name) || RUN_NAMES.some((own) => own === name);
}

const BESIDE = /^(block_table|noise\..*|layers\.\d+\.cache\..*|logits_float64)$/;

const KINDS = Object.keys(TRACE_AXES);

/** Compares two points by when a pass computes them: all of a layer before the next. */
export function inFlow(a: string, b: string): number {
  const [first, second] = [placeOf(a), placeOf(b)];
  return first.layer - second.layer || first.kind - second.kind;
}

function placeOf(point: string): { layer: number; kind: number } {
  const outside = point === 'embeddings' ? -1 : Number.MAX_SAFE_INTEGER;
  return { layer: layerOfPoint(point) ?? outside, kind: KINDS.indexOf(kindOfPoint(point)) };
}
