import type { Command } from 'commander';
import { embeddedModel } from '../src/embedded.js';
import { UsageError } from '../src/errors.js';
import { loadModel, type Model } from '../src/model/load.js';
import { bookkeepingOf, TIMED, timedRequests } from '../src/reference/bookkeeping.js';
import { fragmentationOf } from '../src/reference/fragmentation.js';
import { inPages, PUBLISHED_PAGE, PUBLISHED_SIZES, policiesOf } from '../src/reference/policies.js';
import {
  drawRequests,
  NOTHING_SHARED,
  type Request,
  SHAREGPT,
  type SharedPrefixes,
} from '../src/reference/workload.js';
import { attentionCommand } from './bench-attention.js';
import { type CacheBench, cacheBenchText, type FragmentationRow, type TimesRow } from './bench-text.js';
import { loading } from './load-model.js';
import { folderOf, MODEL } from './model-folder.js';
import { newCommand, pause, wholeNumber, wholeNumbers } from './options.js';

export function benchCommand(): Command {
  return newCommand('bench')
    .description('measure what the parts of a model server cost')
    .addCommand(cacheCommand())
    .addCommand(attentionCommand());
}

interface CacheFlags {
  readonly seed: number;
  readonly requests: number;
  readonly maxTokens: number;
  readonly memoryTokens: number;
  readonly pageSizes?: readonly number[];
  readonly model?: string;
  readonly times: boolean;
  readonly json?: true;
}

const PAGE_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const TIMED_PAGE_SIZES = [1, 16, 64, 256];

function cacheCommand(): Command {
  return newCommand('cache', 'bench cache')
    .description(
      'serve a seeded mix of requests from reservations and from pages: how much memory holds tokens, and what part of a decode step goes into pages',
    )
    .option('--seed <n>', 'that the requests are drawn with', wholeNumber(0), 0)
    .option('--requests <n>', 'how many (the timed ones are always the same few)', wholeNumber(1), 500)
    .option('--max-tokens <n>', 'the most tokens of a request', wholeNumber(2), PUBLISHED_SIZES.maxTokens)
    .option('--memory-tokens <n>', 'tokens that memory holds', wholeNumber(2), PUBLISHED_SIZES.memoryTokens)
    .option(
      '--page-sizes <list>',
      `tokens a page (default: ${PAGE_SIZES}; timed: ${TIMED_PAGE_SIZES})`,
      wholeNumbers('tokens a page', '1,16,256'),
    )
    .option('--model <model>', `whose decode steps are timed: ${MODEL} (default: the embedded one)`)
    .option('--no-times', 'only what is the same on every machine')
    .option('--json', 'print one JSON object')
    .action(async (flags: CacheFlags) => {
      const found = await measure(flags);
      process.stdout.write(flags.json ? `${JSON.stringify(found)}\n` : cacheBenchText(found));
    });
}

/** Half of the requests begin with one of a few system prompts. */
const SHARED: SharedPrefixes = { share: 0.5, prefixes: 4, tokens: 256 };

async function measure(flags: CacheFlags): Promise<CacheBench> {
  const { seed, requests, maxTokens, memoryTokens, times } = flags;
  if (seed >= 2 ** 32) throw new UsageError(`--seed: expected a whole number from 0 to 4294967295, got ${seed}.`);
  if (!times && flags.model !== undefined) throw new UsageError('--model: with --no-times no model is run.');
  const folder = flags.model === undefined ? embeddedModel() : await folderOf(flags.model, 'logits');
  const model = times ? loading((progress) => loadModel(folder, { progress })) : null;
  const draw = (shared: SharedPrefixes) =>
    drawRequests({ seed, requests, maxTokens, ...SHAREGPT, vocabulary: 32_000, shared });
  const plain = draw(NOTHING_SHARED);
  const mean = (of: (request: Request) => number) => plain.reduce((sum, one) => sum + of(one), 0) / plain.length;
  return {
    workload: { seed, requests, maxTokens, memoryTokens, prompt: mean(promptOf), output: mean(answerOf) },
    fragmentation: await fragmentation(plain, { maxTokens, memoryTokens, pageSizes: flags.pageSizes ?? PAGE_SIZES }),
    shared: SHARED,
    sharing: await sharing(draw(SHARED), memoryTokens),
    times: model && (await timesOf(model, seed, flags.pageSizes ?? TIMED_PAGE_SIZES)),
  };
}

const promptOf = ({ prompt }: Request) => prompt;
const answerOf = ({ ids, prompt }: Request) => ids.length - prompt;

async function fragmentation(
  requests: readonly Request[],
  sizes: Parameters<typeof policiesOf>[0],
): Promise<FragmentationRow[]> {
  const rows: FragmentationRow[] = [];
  for (const { kind, name, published, newMemory } of policiesOf(sizes)) {
    rows.push({ kind, name, published, ...(await fragmentationOf(requests, newMemory(), pause)) });
  }
  return rows;
}

async function sharing(requests: readonly Request[], memoryTokens: number): Promise<FragmentationRow[]> {
  const rows: FragmentationRow[] = [];
  for (const [index, name] of [
    ['none', 'paged (none)'],
    ['hash', 'prefix (hash)'],
    ['radix', 'radix (tree)'],
  ] as const) {
    const memory = inPages(memoryTokens, PUBLISHED_PAGE, index);
    rows.push({ kind: 'pages', name, published: null, ...(await fragmentationOf(requests, memory, pause)) });
  }
  return rows;
}

async function timesOf(model: Model, seed: number, pageSizes: readonly number[]): Promise<TimesRow[]> {
  const requests = timedRequests(model, seed);
  const rows: TimesRow[] = [];
  await bookkeepingOf(model, requests.slice(0, 2), { pageSize: 1, index: 'hash' }, pause); // V8 compiles while it runs
  for (const pageSize of pageSizes.filter((size) => size <= TIMED.longest)) {
    for (const [cache, index] of [
      ['paged', 'none'],
      ['prefix', 'hash'],
      ['radix', 'radix'],
    ] as const) {
      // biome-ignore format: pairs
      rows.push({ pageSize, cache, ...(await bookkeepingOf(model, requests, { pageSize, index }, pause)) });
    }
  }
  return rows;
}
