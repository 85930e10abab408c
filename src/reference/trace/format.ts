/** The format of traces, version 1: what is in the file, by name. `fixtures/TRACE.md` is the page about it. */
import { z } from 'zod';
import { CheckpointError } from '../../errors.js';

export const TRACE_FORMAT = 'touchstone-trace-1';

/** How much is kept of a pass: the logits alone; what each layer computes too; and scores, probabilities and the cache as well. */
export type Capture = 'logits' | 'layers' | 'all';

export const CAPTURES = ['logits', 'layers', 'all'] as const satisfies readonly Capture[];

/** Kept with `all` alone: as long as the text for each token, or as large as the cache. */
const LARGE = /\.attention\.(scores|probabilities)$/;

/** Scores and probabilities, which are computed beside the pass. */
export function isScores(point: string): boolean {
  return LARGE.test(point);
}

/** Whether a point belongs to what is kept. @param layers null: all of them */
export function isKept(point: string, capture: Capture, layers: ReadonlySet<number> | null): boolean {
  if (point === 'logits') return true;
  if (capture === 'logits' || (isScores(point) && capture !== 'all')) return false;
  const layer = layerOfPoint(point);
  return layer === null || layers === null || layers.has(layer);
}

/** The layer that a name speaks of; null: none. */
export function layerOfPoint(point: string): number | null {
  const found = /^layers\.(\d+)\./.exec(point);
  return found && Number(found[1]);
}

/** Whole numbers, whatever the pass computes in. */
export function isWholeNumbers(point: string): boolean {
  return point.endsWith('.router.experts');
}

/** The axes of each point by the key of `src/tensor/axes.ts`, layers left out: R is the rows that are kept, S the positions of keys. */
export const TRACE_AXES: Readonly<Record<string, string>> = {
  embeddings: 'RD',
  'attention.input': 'RD',
  'attention.latent': 'R1C',
  'attention.rope_key': 'R1R',
  'attention.q': 'RHK',
  'attention.k': 'RGK',
  'attention.v': 'RGV',
  'attention.q_rope': 'RHK',
  'attention.k_rope': 'RGK',
  'attention.rope_key_rope': 'R1R',
  'attention.scores': 'RHS',
  'attention.probabilities': 'RHS',
  'attention.heads': 'RHV',
  'attention.output': 'RD',
  'attention.output_norm': 'RD',
  'attention.residual': 'RD',
  'feed_forward.input': 'RD',
  'feed_forward.hidden': 'RF',
  'router.logits': 'RE',
  'router.experts': 'Rk',
  'router.weights': 'Rk',
  'feed_forward.output': 'RD',
  'feed_forward.output_norm': 'RD',
  output: 'RD',
  final_norm: 'RD',
  logits: 'RN',
};

/** Points that are in no layer; all others are in each. */
export const OUTSIDE_LAYERS: ReadonlySet<string> = new Set(['embeddings', 'final_norm', 'logits']);

/** A point without its layer: `attention.q` of `layers.3.attention.q`. */
export function kindOfPoint(point: string): string {
  return point.replace(/^layers\.\d+\./, '');
}

/** A JSON document of this form, as text: metadata of safetensors are strings alone. */
function jsonOf(form: z.ZodType, description: string) {
  const { $schema, ...contentSchema } = z.toJSONSchema(form);
  return z
    .string()
    .refine((text) => form.safeParse(parsed(text)).success, { error: 'not the JSON that is described' })
    .meta({ description, contentMediaType: 'application/json', contentSchema });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** The metadata of a trace: strings, as safetensors has them. */
export const traceMetadata = z
  .object({
    format: z.literal(TRACE_FORMAT).describe('the format and its version'),
    touchstone: z.string().describe('the version of touchstone that wrote it'),
    family: z.string().describe('model_type of config.json'),
    options: jsonOf(
      z.record(z.string(), z.string()),
      'what the pass was run with (attention, cache, kernel, precision, ...)',
    ),
    sha256: jsonOf(z.record(z.string(), hash), "sha256 of each of the checkpoint's files, by name"),
    capture: z.enum(CAPTURES).describe('how much is kept'),
    layers: jsonOf(z.array(z.int().nonnegative()), 'the numbers of the layers that are kept'),
    axes: jsonOf(
      z.record(z.string(), z.string()),
      'the axes of each tensor, one letter each, by its name without `layers.N.`',
    ),
    rope: jsonOf(
      z.array(z.object({ from: z.int(), size: z.int(), pairs: z.enum(['half-split', 'interleaved']) }).nullable()),
      'for each layer of the model null, or what rope turns of a query and of a key: values [from, from + size) of each head, the two of a pair half of that apart (half-split) or side by side (interleaved)',
    ),
    noise: z
      .string()
      .optional()
      .describe('the precision that the tensors `noise.*` are the rounding noise of; absent: there are none'),
  })
  .meta({ title: TRACE_FORMAT });

export type TraceMetadata = z.infer<typeof traceMetadata>;

/** @throws CheckpointError naming the key that is missing or wrong */
export function readTraceMetadata(metadata: Readonly<Record<string, string>>, file: string): TraceMetadata {
  const read = traceMetadata.safeParse(metadata);
  if (read.success) return read.data;
  const issue = read.error.issues[0]!;
  throw new CheckpointError(
    `${file}: its metadata are not those of a ${TRACE_FORMAT}: ${issue.path.join('.')}: ${issue.message}.`,
  );
}
