/** What a lossy choice costs: perplexity on a text, and how far its predictions lie from those of the exact run. */
import type { KvAmax, KvConfig } from '../../attention/cache/codec/format.js';
import { kvFormat } from '../../attention/cache/codec/format.js';
import { idealBytes } from '../../attention/cache/plan.js';
import { expectSize, RequestError } from '../errors.js';
import { feed } from '../generate/generate.js';
import { logProbability } from '../generate/sampler.js';
import { type RunOptions, slotRefusal } from '../model/components.js';
import type { ModelConfig } from '../model/config.js';
import { assemble, type Model } from '../model/load.js';
import { type Floats, flat } from '../tensor/tensor.js';
import { exactly } from './calibrate.js';
import { divergenceOf } from './divergence.js';

export interface LossyChoice {
  readonly name: string;
  readonly options: Partial<RunOptions>;
}

export interface Quality {
  readonly name: string;
  /** The most bytes that a cache must keep of a segment: what windows still see, in the form of the rows, with scales and a full residual. */
  readonly kvBytes: number;
  readonly perplexity: number;
  /** KL(exact || this) of the next token, in nats. */
  readonly meanKl: number;
  readonly maxKl: number;
  /** The part of the tokens with the same likeliest next token. */
  readonly top1: number;
}

export interface QualityOptions {
  /** Tokens a segment: each is fed by itself. The model's context by default. */
  readonly segment?: number | undefined;
  /** Called when a segment is done. */
  readonly progress?: (done: number, of: number) => void;
  /** Awaited after each layer. */
  readonly pause?: () => Promise<void>;
}

const INTEGERS: readonly KvConfig[] = [
  { dtype: 'int8' },
  { dtype: 'int8', zero: 'affine' },
  { dtype: 'int8', keys: 'channel', residual: 32 },
  { dtype: 'int4' },
  { dtype: 'int4', zero: 'affine' },
  { dtype: 'int4', keys: 'channel', residual: 32 },
  { dtype: 'int4', zero: 'affine', keys: 'channel', residual: 32 },
];

/** KIVI's own choice (Liu et al. 2024), which says something of texts that are longer than its residual. */
const KIVI: KvConfig = { dtype: 'int4', zero: 'affine', keys: 'channel', residual: 128 };

/** Every form of rows that rounds them. @param amax what static scales are made of @param segment tokens that are fed at once */
export function lossyForms(amax: KvAmax, segment: number): LossyChoice[] {
  const fp8 = (['fp8_e4m3', 'fp8_e5m2'] as const).flatMap((dtype): KvConfig[] => [
    { dtype },
    { dtype, scale: 'tensor', amax },
    { dtype, scale: 'head', amax },
  ]);
  const floats: KvConfig[] = [{ dtype: 'float16' }, { dtype: 'bfloat16' }];
  const forms = [...floats, ...fp8, ...INTEGERS, ...(segment > 128 ? [KIVI] : [])];
  return forms.map((kvDtype) => ({ name: kvFormat(kvDtype).name, options: { kvDtype } }));
}

/** Every rule that hides some of the past, for a window of this many tokens; with positions in the cache where the model can have them. */
export function lossyRules(window: number, { layers }: ModelConfig): LossyChoice[] {
  const slots = layers.every(({ attention }) => slotRefusal(attention) === null);
  const sinks = Math.min(4, window - 1);
  const kept = { kind: 'sinks', sinks, window: window - sinks } as const;
  return [
    { name: `sliding ${window}`, options: { visibility: { kind: 'sliding', window } } },
    { name: `chunked ${window}`, options: { visibility: { kind: 'chunked', chunk: window } } },
    { name: `sinks ${sinks} + ${window - sinks}`, options: { visibility: kept } },
    ...(slots
      ? [
          {
            name: `sinks ${sinks} + ${window - sinks} in-cache`,
            options: { visibility: kept, positions: 'in-cache' },
          } as const,
        ]
      : []),
  ];
}

/**
 * Feeds a text to the model as it is, and to each choice, in segments that begin with an empty cache. Every read of a quantised row is
 * dequantised, those of the tokens that are fed together too.
 * @returns the exact run first @throws RequestError for a text of less than two tokens
 */
export async function measureQuality(
  model: Model,
  ids: readonly number[],
  choices: readonly LossyChoice[],
  { segment = model.config.context, progress, pause }: QualityOptions = {},
): Promise<Quality[]> {
  expectSize('segment (--segment)', segment);
  if (ids.length < 2) throw new RequestError(`The text has ${ids.length} tokens; at least 2 are needed.`);
  const exact = exactly(model);
  const runs = choices.map(({ name, options }) => new Tally(name, withOptions(exact, options)));
  const own = new Tally('exact', exact);
  const last = ids.length - 1; // what follows the last token is not known
  for (let from = 0; from < last; from += segment) {
    const to = Math.min(from + segment, last);
    const fed = ids.slice(from, to);
    const truth = await logitsOf(exact, fed, pause);
    own.add(truth, truth, ids.slice(from + 1, to + 1));
    for (const run of runs) run.add(await logitsOf(run.model, fed, pause), truth, ids.slice(from + 1, to + 1));
    progress?.(to, last);
  }
  return [own, ...runs].map((run) => run.result(Math.min(segment, last)));
}

function withOptions({ config, weights, options, files }: Model, changed: Partial<RunOptions>): Model {
  return assemble(config, weights, { ...options, ...changed }, files);
}

async function logitsOf(model: Model, ids: readonly number[], pause?: () => Promise<void>): Promise<Floats> {
  return flat(await feed(model, ids, model.components.newCache(), { from: 0, logits: 'all', pause }));
}

/** Sums over segments of one run. */
class Tally {
  readonly model: Model;
  private readonly name: string;
  private tokens = 0;
  private cost = 0;
  private kl = 0;
  private maxKl = 0;
  private same = 0;

  constructor(name: string, model: Model) {
    this.name = name;
    this.model = model;
  }

  add(found: Floats, exact: Floats, next: readonly number[]): void {
    const { vocabulary } = this.model.config;
    const { meanKl, maxKl, top1 } = divergenceOf(found, exact, vocabulary);
    this.tokens += next.length;
    this.kl += meanKl * next.length;
    this.maxKl = Math.max(this.maxKl, maxKl);
    this.same += top1 * next.length;
    for (const [t, id] of next.entries()) {
      this.cost -= logProbability(found.subarray(t * vocabulary, (t + 1) * vocabulary), id);
    }
  }

  /** @param fed the tokens of a whole segment */
  result(fed: number): Quality {
    const { name, tokens, maxKl } = this;
    const { stores, format } = this.model.components;
    const fullest = format.residual === 0 ? fed : Math.floor((fed + 1) / format.residual) * format.residual - 1;
    const kvBytes = Math.max(idealBytes(stores, fed), idealBytes(stores, Math.max(fullest, 0)));
    const perplexity = Math.exp(this.cost / tokens);
    return { name, kvBytes, perplexity, meanKl: this.kl / tokens, maxKl, top1: this.same / tokens };
  }
}
