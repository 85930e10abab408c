/** Says why another implementation differs: which mistake reproduces its numbers. */
import { expectSize } from '../../errors.js';
import type { Model } from '../../model/load.js';
import type { ComparedDtype, Comparison } from '../compare/comparison.js';
import { type CompareOptions, compare } from '../compare/index.js';
import type { Reference } from '../compare/reference.js';
import { tokensOf } from '../compare/rows.js';
import { withRunNames } from '../compare/run-tensors.js';
import { namesOf } from '../compare/tensors.js';
import { idsOf, pairFor, referenceFrom } from '../compare/with-model.js';
import { firstOf, firstText } from '../compare/words.js';
import type { Dump } from '../dump/dump.js';
import { openDump } from '../dump/open.js';
import { isScores } from '../trace/format.js';
import { inNamedForm } from '../trace/index.js';
import { Bench, type BenchOptions, runnerFor } from './bench.js';
import type { Conclusion, Diagnosis } from './diagnosis.js';
import { type Evidence, evidenceOf, type Reading } from './evidence.js';
import { explainsPartOf, explanationOf, placeText } from './explanation.js';
import { changesHead, hypothesesFor } from './hypothesis.js';
import { otherSource } from './other-source.js';
import { otherTokens } from './other-tokens.js';
import { scoreOf } from './score.js';
import { type Found, search } from './search.js';

export interface DiagnoseOptions extends Omit<CompareOptions, 'bisect' | 'spliceAt' | 'progress'> {
  /** Look for two mistakes together where one does not explain it; true by default. */
  readonly pairs?: boolean | undefined;
  /** How many of their tokens the first pass was fed, where that is neither all of `input_ids` nor `prefillChunk`: then one at a time. */
  readonly promptTokens?: number | undefined;
  /** Told after each run of a hypothesis of how many are known to come; more may follow. */
  readonly progress?: ((runs: number, of: number) => void) | undefined;
}

/**
 * Compares, and where something differs, looks for the mistakes that reproduce their numbers.
 * @param theirs an open dump, or the path of a file or folder that `openDump` reads; logits alone are enough
 * @throws CheckpointError, RequestError, UsageError for what cannot be read, run, or compared
 */
export async function diagnose(theirs: Dump | string, model: Model, options: DiagnoseOptions = {}): Promise<Diagnosis> {
  const dump = withRunNames(typeof theirs === 'string' ? openDump(theirs) : theirs, options.map);
  try {
    const { progress: _, pairs: __, promptTokens: ___, ...comparing } = options;
    const comparison = await compare(dump, model, comparing);
    return await new Case(dump, inNamedForm(model, { capture: 'all' }), comparison, options).diagnosed();
  } finally {
    if (typeof theirs === 'string') dump.close();
  }
}

/** What came of a search with one reading of their numbers. */
interface Looked {
  readonly found: Found;
  readonly bench: Bench;
  readonly other: Conclusion | null;
}

class Case {
  private readonly dump: Dump;
  private readonly model: Model;
  private readonly comparison: Comparison;
  private readonly options: DiagnoseOptions;
  private readonly ids: readonly number[];
  private runs = 0;
  private candidates = 0;

  constructor(dump: Dump, model: Model, comparison: Comparison, options: DiagnoseOptions) {
    this.dump = dump;
    this.model = model;
    this.comparison = comparison;
    this.options = options;
    this.ids = idsOf(dump, options);
  }

  async diagnosed(): Promise<Diagnosis> {
    const { verdict, tensors, tokens, dtype } = this.comparison;
    const isRight = verdict === 'identical' || verdict === 'within noise';
    const maybeSaved = dtype.endsWith('16') && this.options.dtype === undefined;
    if (isRight && !maybeSaved) return this.told({ kind: 'within noise' }, null);
    const isOthers = !tokens || tokens.verdict === 'different';
    const strange = tensors.length > 0 && isOthers && tensors.every(({ problem }) => problem !== null);
    if (strange) return this.told({ kind: 'other shapes', why: tensors[0]!.problem! }, null);
    if (maybeSaved) {
      const saved = await this.look('saved', 'float32', false);
      const isNoise = saved?.found.reference.parts === null;
      const conclusion = saved && (isNoise ? ({ kind: 'within noise' } as const) : this.concluded(saved));
      if (conclusion?.kind === 'explained' || conclusion?.kind === 'within noise') return this.told(conclusion, saved, SAVED_NOTE); // biome-ignore format: one thought
      if (isRight) return this.told({ kind: 'within noise' }, saved);
    }
    const looked = await this.look('computed', dtype, this.options.pairs ?? true);
    if (!looked) return this.told({ kind: 'unknown' }, null);
    const conclusion = looked.other ?? this.concluded(looked);
    if (conclusion.kind !== 'unknown' && conclusion.kind !== 'partly') return this.told(conclusion, looked);
    return (await this.byEnds(looked, dtype)) ?? this.told(conclusion, looked);
  }

  /** A port may have another value under a name than ours: once more by what layers end with, whatever lies within them. */
  private async byEnds({ bench }: Looked, dtype: ComparedDtype): Promise<Diagnosis | null> {
    const ends = bench.evidence.filter(({ name }) => ENDS.test(name));
    if (ends.length === 0 || ends.length === bench.evidence.length) return null;
    const looked = await this.look('computed', dtype, false, (name) => ENDS.test(name));
    const conclusion = looked && this.concluded(looked);
    return conclusion?.kind === 'explained' ? this.told(conclusion, looked, ENDS_NOTE) : null;
  }

  /** @returns null where there is nothing to go by */
  private async look(
    reading: Reading,
    dtype: ComparedDtype,
    pairs: boolean,
    by: (name: string) => boolean = () => true,
  ): Promise<Looked | null> {
    const { map, skip } = this.options;
    const pair = pairFor(this.model, dtype, this.options);
    const { prefillChunk, pause } = this.options;
    const reference = await referenceFrom(pair, this.ids, (point) => !isScores(point), { prefillChunk, pause });
    try {
      const { named } = namesOf(this.dump, reference.points, { config: this.model.config, map, skip });
      const evidence = evidenceOf(this.dump, reference, named, reading).filter(({ name }) => by(name));
      if (evidence.length === 0) return null;
      return await this.searched(evidence, reference, pair, pairs);
    } finally {
      reference.close();
    }
  }

  private async searched(
    evidence: readonly Evidence[],
    reference: Reference,
    { base, other }: { readonly base: Model; readonly other: Model },
    pairs: boolean,
  ): Promise<Looked> {
    const options: BenchOptions = {
      model: inNamedForm(base, { capture: 'all' }),
      other: () => inNamedForm(other, { capture: 'all' }),
      ids: this.ids,
      passes: passesOf(tokensOf(this.dump).inputIds?.length ?? this.ids.length, this.ids.length, this.options),
      pause: this.options.pause,
      progress: this.options.progress,
    };
    const points = new Set(evidence.map(({ name }) => name));
    const bench = new Bench(evidence, options, runnerFor(options, points));
    // Where theirs is no number, no second mistake makes a difference.
    const isNumber = evidence.every(({ theirs }) => !theirs.some(Number.isNaN));
    const hypotheses = hypothesesFor(options.model);
    this.candidates = new Set(hypotheses.map(({ faults }) => faults[0]!.mutant)).size;
    let elsewhere: Conclusion | null = null;
    const found = await search(bench, hypotheses, {
      pairs: pairs && isNumber,
      among: async () => {
        elsewhere = await this.tokens(options.model, evidence, reference);
        if (elsewhere) return null;
        const source = otherSource(options.model, evidence);
        elsewhere = source?.conclusion ?? null;
        if (!source) return () => true;
        return source.byHead ? (one) => changesHead(one, options.model) : null;
      },
    });
    this.runs += bench.runs;
    return { found, bench, other: found.explained.length > 0 ? null : elsewhere };
  }

  private async tokens(model: Model, evidence: readonly Evidence[], ours: Reference): Promise<Conclusion | null> {
    const logits = evidence.filter(({ name }) => name === 'logits');
    const { values, shape } = ours.tensor('logits');
    const own = { points: new Map([['logits', { values, width: shape[1]! }]]), firstRow: 0 };
    return otherTokens(model, evidence, this.ids, scoreOf(logits, own).parts?.position ?? null);
  }

  private concluded({ found, bench }: Looked): Conclusion {
    const [best, ...others] = found.explained.map((scored) => explanationOf(scored, bench));
    if (best) return { kind: 'explained', explanations: [best, ...others] };
    const partly = found.nearest.find(({ score }) => explainsPartOf(found.reference, score));
    return partly ? { kind: 'partly', explanation: explanationOf(partly, bench) } : { kind: 'unknown' };
  }

  private told(conclusion: Conclusion, looked: Looked | null, ...notes: readonly string[]): Diagnosis {
    const { theirs, ours, dtype, verdict } = this.comparison;
    const first = firstOf(this.comparison);
    const isSaved = notes.includes(SAVED_NOTE);
    const evidence = looked?.bench.evidence ?? [];
    const nearest = conclusion.kind === 'unknown' ? (looked?.found.nearest ?? []).slice(0, 3) : [];
    return {
      conclusion,
      theirs,
      ours,
      dtype,
      verdict,
      off: looked?.found.reference.relative ?? 0,
      first:
        looked && (isSaved || first?.kind === 'problem')
          ? placeText(looked.found.reference, looked.bench)
          : first && firstText(first).replace(/^first at /, ''),
      nearest: looked ? nearest.map((scored) => explanationOf(scored, looked.bench)) : [],
      evidence: evidence.map(({ name }) => name),
      candidates: this.candidates,
      runs: this.runs,
      notes: [
        ...notes,
        ...this.comparison.notes.filter((note) => !isSaved || !note.startsWith('Their values are numbers of')),
      ],
    };
  }
}

const ENDS = /^(embeddings|layers\.\d+\.output|logits)$/;

const ENDS_NOTE =
  'Told by the outputs of layers and logits alone: within layers their tensors are not what ours are under the same names, with this mistake either.';

const SAVED_NOTE =
  'Their values are of 16 bits, and lie where those of float32 do that were rounded when they were saved: judged so.';

/** The prompt in one pass or in chunks, then a token at a time. */
function passesOf(given: number, tokens: number, { promptTokens = given, prefillChunk }: DiagnoseOptions): number[] {
  expectSize('promptTokens (--prompt-tokens)', promptTokens);
  const prompt = Math.min(promptTokens, tokens);
  const chunk = prefillChunk ?? prompt;
  const chunks: number[] = [];
  for (let from = 0; from < prompt; from += chunk) chunks.push(Math.min(chunk, prompt - from));
  return [...chunks, ...Array<number>(tokens - prompt).fill(1)];
}
