/** How a layer's rows lie in arrays: the codec of each of its streams, and what they take. */
import type { StoredKind } from '../../stored.js';
import type { LayerSchema, StreamSchema } from '../../streams.js';
import { BYTES, type RowCodec } from './codec.js';
import { floatCodec } from './floats.js';
import { type KvConfig, type KvDtype, type KvFormat, kvFormat } from './format.js';
import { fp8Codec } from './fp8.js';
import { integerCodec } from './integer.js';

export interface RowLayout {
  readonly streams: readonly { readonly schema: StreamSchema; readonly codec: RowCodec }[];
  /** Rows come and go by runs of this many. */
  readonly alignment: number;
  /** All that decides what the bytes mean. */
  readonly form: string;
  /** The same for kernels. */
  readonly kind: StoredKind;
}

/** @throws UsageError for a format that has no meaning for the layer */
export function layoutOf(asked: KvDtype | KvConfig, { streams }: LayerSchema, layer: number): RowLayout {
  const format = kvFormat(asked);
  const codecs = streams.map((schema) => ({ schema, codec: codecOf(format, schema, layer) }));
  const { alignment } = format;
  const kind = { streams: codecs.map(({ schema, codec }) => ({ ...schema, form: codec.form })), alignment };
  return { streams: codecs, alignment, form: JSON.stringify([format, streams]), kind };
}

function codecOf(format: KvFormat, schema: StreamSchema, layer: number): RowCodec {
  switch (format.kind) {
    case 'float':
      return floatCodec(format, schema);
    case 'fp8':
      return fp8Codec(format, layer, schema);
    case 'integer':
      return integerCodec(format, schema);
    default:
      return format satisfies never;
  }
}

/** Bytes that this many slots take: values, scales and minima. */
export function bytesOf({ streams }: RowLayout, slots: number): number {
  const parts = streams.flatMap(({ codec }) => codec.parts);
  return parts.reduce((sum, part) => sum + Math.ceil(slots / part.slots) * part.length * BYTES[part.dtype], 0);
}

/** Bytes that a token takes once it is stored for good: where rows share scales, its part of them. */
export function tokenBytes(layout: RowLayout): number {
  return bytesOf(layout, layout.alignment) / layout.alignment;
}
