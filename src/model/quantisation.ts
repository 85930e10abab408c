/**
 * Weights that a checkpoint stores as narrow codes and scales. They are dequantised when they are read, which is what transformers computes with
 * `dequantize=True`; activations are not quantised, so scales of activations have no use here.
 */
import type { Dtype, TensorEntry } from '../checkpoint/safetensors/header.js';
import { type Numbers, numbersOf } from '../checkpoint/safetensors/numbers.js';
import { isFloatDtype, type StoredTensor, type WeightSource } from '../checkpoint/tensor-source.js';
import { CheckpointError } from '../errors.js';
import { dequantised, MXFP4_GROUP, mxfp4ToBfloat16, type ScaleGrid } from '../tensor/dequantise.js';
import { float8s, isFloat8, powersOfTwo } from '../tensor/dtype.js';

/** What config.json says of how weights are stored. */
export type Quantisation =
  | {
      readonly kind: 'scaled';
      /** `quant_method` */
      readonly method: string;
      /** Dtypes of codes. */
      readonly codes: readonly Dtype[];
      /** What a scale may stand for: the file's shapes decide among them. */
      readonly spans: readonly ScaleSpan[];
      /** What comes after a weight's name in the name of its scales, the usual one first. */
      readonly suffixes: readonly string[];
      /** Tensors of scales that quantise what is not quantised here: activations, and rows of a cache. */
      readonly unused: (name: string) => boolean;
    }
  /** Experts as 4-bit floats, with a scale for each 32 of them (gpt-oss). */
  | { readonly kind: 'mxfp4'; readonly method: string };

export type Scaled = Extract<Quantisation, { kind: 'scaled' }>;

export type ScaleSpan =
  | { readonly kind: 'tensor' }
  /** An output. */
  | { readonly kind: 'row' }
  | { readonly kind: 'block'; readonly rows: number; readonly columns: number };

/** Reads a weight of this shape, and with it the scales that belong to it. @throws CheckpointError if they are missing, or do not fit */
export function takeScaled(source: WeightSource, of: Scaled, name: string, shape: readonly number[]): StoredTensor {
  const scaleName = of.suffixes.map((suffix) => name + suffix).find((candidate) => source.has(candidate));
  const { entry, path } = source.find(name, `shape [${shape.join(', ')}]`);
  if (of.codes.includes(entry.dtype)) return takeCodes(source, of, entry, scaleName ?? name + of.suffixes[0], shape);
  if (scaleName === undefined) return source.take(name, shape);
  throw new CheckpointError(
    `${path}: tensor ${name} is ${entry.dtype} and has scales, ${scaleName}; ` +
      `config.json has quant_method = ${JSON.stringify(of.method)}, whose scaled weights are ${of.codes.join(' or ')}.`,
  );
}

function takeCodes(
  source: WeightSource,
  of: Scaled,
  entry: TensorEntry,
  scaleName: string,
  shape: readonly number[],
): StoredTensor {
  const { name, dtype } = entry;
  source.expectShape(name, shape);
  const codes = new Uint8Array(source.takeBytes(name));
  const grid = gridOf(source, of, entry, scaleName);
  const values = isFloat8(dtype) ? float8s(dtype) : Float32Array.from({ length: 256 }, (_, code) => (code << 24) >> 24);
  return { name, ...dequantised(codes, values, asMatrices(shape), grid) };
}

/** A vector is one row; more than two axes are matrices in a row. */
function asMatrices(shape: readonly number[]): [count: number, rows: number, columns: number] {
  const [columns = 1, rows = 1, ...more] = [...shape].reverse();
  return [more.reduce((product, length) => product * length, 1), rows, columns];
}

const SCALES: readonly Dtype[] = ['F32', 'BF16', 'F16', 'F64', 'F8_E8M0', 'U8'];

function gridOf(source: WeightSource, of: Scaled, weight: TensorEntry, name: string): ScaleGrid {
  const { entry, path } = source.find(
    name,
    `the scales of ${weight.name}, which is ${weight.dtype}: config.json has quant_method = ${JSON.stringify(of.method)}`,
  );
  if (!SCALES.includes(entry.dtype)) {
    throw new CheckpointError(`${path}: tensor ${name} is ${entry.dtype}; scales must be ${SCALES.join(', ')}.`);
  }
  const fitting = gridsOf(of.spans, weight.shape);
  const found = fitting.find(({ shape }) => shape.join() === entry.shape.join());
  if (!found) {
    const shapes = fitting.map(({ shape }) => `[${shape.join(', ')}]`).join(' or ');
    throw new CheckpointError(
      `${path}: tensor ${name} has shape [${entry.shape.join(', ')}]; the scales of ${weight.name} ` +
        `[${weight.shape.join(', ')}] have ${shapes} by config.json.`,
    );
  }
  const scales = asFloats(numbersOf(entry, source.takeBytes(name), path), entry.dtype);
  const { blockRows, blockColumns, count } = found;
  return { blockRows, blockColumns, scales: scales.length < count ? new Float32Array(count).fill(scales[0]!) : scales };
}

/** Exponents may be stored as plain bytes; a scale wider than float32 is rounded to it first, as PyTorch does. */
function asFloats(numbers: Numbers, dtype: Dtype): Float32Array {
  if (numbers instanceof Float32Array) return numbers;
  const powers = powersOfTwo();
  return Float32Array.from(numbers as Float64Array | Uint8Array, (value) => (dtype === 'U8' ? powers[value]! : value));
}

interface Grid extends Omit<ScaleGrid, 'scales'> {
  /** Of the tensor of scales. */
  readonly shape: readonly number[];
  /** Scales of all matrices. */
  readonly count: number;
}

/** The shapes that scales of a weight may have, the full ones first. */
function gridsOf(spans: readonly ScaleSpan[], shape: readonly number[]): Grid[] {
  const [count, rows, columns] = asMatrices(shape);
  const lead = shape.slice(0, -2);
  return spans.flatMap((span): Grid[] => {
    if (span.kind === 'block') {
      const [down, across] = [Math.ceil(rows / span.rows), Math.ceil(columns / span.columns)];
      const blocks = { blockRows: span.rows, blockColumns: span.columns, count: count * down * across };
      return [{ ...blocks, shape: [...lead, down, across] }];
    }
    if (span.kind === 'tensor') {
      const whole = { blockRows: rows, blockColumns: columns, count };
      const shapes = lead.length > 0 ? [[...lead, 1, 1], [...lead, 1], lead, [1], []] : [[], [1], [1, 1]];
      return shapes.map((own) => ({ ...whole, shape: own }));
    }
    const row = { blockRows: 1, blockColumns: columns, count: count * rows };
    const column = { blockRows: rows, blockColumns: 1, count: count * columns }; // outputs of experts that are stored inputs first
    return [
      { ...row, shape: [...lead, rows, 1] },
      { ...row, shape: [...lead, rows] },
      ...(lead.length > 0 ? [{ ...column, shape: [...lead, 1, columns] }] : []),
    ];
  });
}

/** The names of what MXFP4 stores a tensor in. */
export const mxfp4Parts = (name: string) => ({ blocks: `${name}_blocks`, scales: `${name}_scales` });

/**
 * All experts' matrices [count, outputs, inputs], whose tensors are blocks [count, outputs, inputs / 32, 16] and scales [count, outputs, inputs / 32].
 * (transformers turns them over into the inputs-first form of files in bfloat16.)
 */
export function takeMxfp4(source: WeightSource, name: string, shape: readonly [number, number, number]): StoredTensor {
  const parts = mxfp4Parts(name);
  const groups = shape[2] / MXFP4_GROUP;
  const read = (part: string, length: readonly number[]) => {
    const expected = [shape[0], shape[1], groups, ...length];
    const { entry, path } = source.find(part, `U8 of shape [${expected.join(', ')}], a part of ${name} in MXFP4`);
    if (entry.dtype !== 'U8')
      throw new CheckpointError(`${path}: tensor ${part} is ${entry.dtype}; MXFP4 is stored as U8.`);
    source.expectShape(part, expected);
    return new Uint8Array(source.takeBytes(part));
  };
  return { name, dtype: 'BF16', bits: mxfp4ToBfloat16(read(parts.blocks, [MXFP4_GROUP / 2]), read(parts.scales, [])) };
}

/**
 * Weights in a tensor of a file: two in a byte of MXFP4, none in scales and in buffers of integers.
 * @param has whether the checkpoint has a tensor of that name
 */
export function weightsIn(
  { name, dtype, shape }: TensorEntry,
  of: Quantisation | null,
  has: (name: string) => boolean,
): number {
  const size = shape.reduce((product, length) => product * length, 1);
  if (of?.kind === 'mxfp4') {
    if (name.endsWith('_blocks') && has(name.replace(/blocks$/, 'scales'))) return 2 * size;
    if (name.endsWith('_scales') && has(name.replace(/scales$/, 'blocks'))) return 0;
  }
  if (of?.kind === 'scaled') {
    const isScale = of.suffixes.some((suffix) => name.endsWith(suffix) && has(name.slice(0, -suffix.length)));
    if (isScale || of.unused(name)) return 0;
    if (of.codes.includes(dtype)) return size;
  }
  return isFloatDtype(dtype) ? size : 0;
}

/** What a port should know of it, and of 8-bit weights that no scale belongs to. */
export function quantisationNotes(of: Quantisation | null, entries: readonly TensorEntry[]): string[] {
  const eights = entries.filter(({ dtype }) => isFloat8(dtype)).length;
  if (of === null) return eights > 0 ? [`8-bit floats without scales: ${eights} tensors, taken at their values`] : [];
  const stored =
    of.kind === 'mxfp4'
      ? 'experts are 4-bit floats with a scale for each 32'
      : `weights are codes with scales ${spansText(of.spans)}`;
  const unused = of.kind === 'scaled' ? entries.filter(({ name }) => of.unused(name)).length : 0;
  return [
    `quantised (${of.method}): ${stored}; they are used dequantised, and activations as they are`,
    ...(unused > 0 ? [`unused scales: ${unused} tensors for activations or a cache in 8 bits`] : []),
  ];
}

function spansText(spans: readonly ScaleSpan[]): string {
  const texts = spans.map((span) => {
    if (span.kind === 'block') return `for each ${span.rows} x ${span.columns}`;
    return span.kind === 'row' ? 'for each output' : 'for each tensor';
  });
  return [...new Set(texts)].join(' or ');
}
