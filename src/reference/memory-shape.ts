/** What decides the bytes of a key/value cache: each layer's attention and what it sees. No weights are needed. */

import { headStreams } from '../../attention/strategy/grouped.js';
import { STRATEGIES, type StrategyName } from '../../attention/strategy/index.js';
import { expandedStreams, latentStreams } from '../../attention/strategy/latent.js';
import type { AttentionConfig, GroupedConfig, LatentConfig } from '../../attention/strategy/strategy.js';
import type { LayerSchema, StreamSchema } from '../../attention/streams.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import { weightBytesOf } from '../checkpoint/tensor-source.js';
import { loadConfig } from '../model/load.js';

/** Of a layer's attention, what is stored for a token depends on this. */
export type AttentionShape =
  /** Without the number of query heads nothing is said of multi-head attention. */
  | (Pick<GroupedConfig, 'kind' | 'keyValueHeads' | 'headDim'> & Partial<Pick<GroupedConfig, 'queryHeads'>>)
  /** Without heads and their dims nothing is said of the expanded form. */
  | (Pick<LatentConfig, 'kind' | 'latentRank' | 'ropeDim'> &
      Partial<Pick<LatentConfig, 'queryHeads' | 'nopeDim' | 'valueDim'>>);

export interface LayerShape {
  readonly attention: AttentionShape;
  readonly visibility: VisibilityConfig;
}

export interface MemoryShape {
  readonly name: string;
  readonly layers: readonly LayerShape[];
  /** The longest sequence that the model was made for, in tokens; null: not known. */
  readonly context: number | null;
  /** Bytes of the weights; null: not known. */
  readonly weights: number | null;
}

/** The shape of a checkpoint folder: its config.json, and the sizes of its weights where they are there. @throws CheckpointError */
export function shapeOfFolder(folder: string, ignoreConfigKeys: readonly string[] = []): MemoryShape {
  const { config } = loadConfig(folder, { ignoreConfigKeys });
  const layers = config.layers.map(({ attention, visibility }) => ({ attention: bare(attention), visibility }));
  return { name: folder, layers, context: config.context, weights: weightBytesOf(folder) };
}

function bare(of: AttentionConfig): AttentionShape {
  if (of.kind === 'grouped') {
    const { kind, queryHeads, keyValueHeads, headDim } = of;
    return { kind, queryHeads, keyValueHeads, headDim };
  }
  const { kind, queryHeads, latentRank, ropeDim, nopeDim, valueDim } = of;
  return { kind, queryHeads, latentRank, ropeDim, nopeDim, valueDim };
}

/** Equal layers together, in order of their first ones. */
export interface LayerGroup extends LayerShape {
  readonly count: number;
}

export function layerGroups({ layers }: MemoryShape): LayerGroup[] {
  const groups = new Map<string, LayerGroup>();
  for (const { attention, visibility } of layers) {
    const key = JSON.stringify([attention, visibility]);
    groups.set(key, { attention, visibility, count: (groups.get(key)?.count ?? 0) + 1 });
  }
  return [...groups.values()];
}

/** Layers that store and forget the same, and how many there are: figures are made once for all of them. */
export interface LayerKind extends LayerSchema {
  readonly count: number;
}

/** A strategy with what it stores. */
export interface StoredForm {
  readonly strategy: StrategyName;
  /** What the model does as it is; the others share its shape and differ in what they store. */
  readonly own: boolean;
  readonly kinds: readonly LayerKind[];
}

type Streams = (attention: AttentionShape) => readonly StreamSchema[] | null;

/** What each strategy stores for a token; null where it has no meaning, or the shape does not say. */
const STREAMS: Readonly<Record<StrategyName, Streams>> = {
  mha: (of) => (of.kind === 'grouped' && of.queryHeads !== undefined ? headStreams(of.queryHeads, of) : null),
  mqa: (of) => (of.kind === 'grouped' ? headStreams(1, of) : null),
  gqa: (of) => (of.kind === 'grouped' ? headStreams(of.keyValueHeads, of) : null),
  mla: (of) => (of.kind === 'latent' ? latentStreams(of) : null),
  'mla-naive': (of) => {
    if (of.kind !== 'latent') return null;
    const { queryHeads, nopeDim, ropeDim, valueDim } = of;
    if (queryHeads === undefined || nopeDim === undefined || valueDim === undefined) return null;
    return expandedStreams({ queryHeads, nopeDim, ropeDim, valueDim });
  },
};

/** The strategies that have a meaning for a shape, each with what it stores; those that store the same stand there once. */
export function storedForms(shape: MemoryShape): StoredForm[] {
  const groups = layerGroups(shape);
  const own = JSON.stringify(groups.map(({ attention }) => STREAMS[ownForm(attention)](attention)));
  const seen = new Set<string>();
  return (Object.keys(STRATEGIES) as StrategyName[]).flatMap((strategy) => {
    const streams = groups.map(({ attention }) => STREAMS[strategy](attention)).filter((of) => of !== null);
    const key = JSON.stringify(streams);
    if (streams.length < groups.length || seen.has(key)) return [];
    seen.add(key);
    const kinds = groups.map(({ visibility, count }, i) => {
      return { streams: streams[i]!, retention: visibilityOf(visibility), count };
    });
    return [{ strategy, own: key === own, kinds }];
  });
}

function ownForm({ kind }: AttentionShape): StrategyName {
  return kind === 'latent' ? 'mla' : 'gqa';
}
