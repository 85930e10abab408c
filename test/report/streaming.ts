/**
 * `npm run report:streaming`: prose that the checkpoints have not read, several times as long as the context that they were trained on, seen in
 * several ways: nats a token, and plots of what each way costs more than the last one.
 */
import { readFileSync } from 'node:fs';
import { plot } from 'asciichart';
import { feed } from '../../src/generate/generate.js';
import { logProbability } from '../../src/generate/sampler.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { flat, rowsOf } from '../../src/tensor/tensor.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { fixture } from '../support/fixtures.js';

const SEGMENT = 128;

/** One that has learnt an attention sink, plotted, and one that has not. */
await report('austen-sinks', 64, true);
await report('austen-llama', 128, false);

async function report(name: string, window: number, plotted: boolean): Promise<void> {
  const { vocabulary, context } = loadModel(fixture(name)).config;
  const text = readFileSync(fixture('austen-held-out.txt'), 'utf8');
  const ids = loadTokenizer(fixture(name), vocabulary)!.encode(text);
  const runs = runsOf(window);
  const read: { costs: number[]; bytes: number }[] = [];
  for (const [, options] of runs) read.push(await segments(name, ids, options));
  console.log(`\n${name}, trained on ${context} tokens, reads ${ids.length}: nats a token\n`);
  console.log(`| seen | first ${context} | after them | worst ${SEGMENT} | KV bytes at the end |`);
  console.log('| --- | --- | --- | --- | --- |');
  for (const [i, [seen]] of runs.entries()) {
    const { costs, bytes } = read[i]!;
    const [inside, beyond] = [costs.slice(0, context / SEGMENT), costs.slice(context / SEGMENT)];
    const numbers = [mean(inside), mean(beyond), Math.max(...costs)].map((x) => x.toFixed(2));
    console.log(`| ${seen} | ${numbers.join(' | ')} | ${bytes.toLocaleString('en-US')} |`);
  }
  if (plotted) {
    const series = read.map(({ costs }) => costs);
    draw(
      runs.map(([seen]) => seen),
      series,
    );
  }
}

/** Everything, the plain window, and sinks with it, in a ring each. */
function runsOf(window: number): [string, LoadOptions][] {
  const sinks = { kind: 'sinks', sinks: 4, window } as const;
  return [
    ['everything', {}],
    [`sliding ${window}`, { visibility: { kind: 'sliding', window }, cache: 'ring' }],
    [`sinks 4 + ${window}`, { visibility: sinks, cache: 'ring' }],
    [`sinks 4 + ${window} in-cache`, { visibility: sinks, cache: 'ring', positions: 'in-cache' }],
  ];
}

/** Each way's cost over the text, less that of the last way: what is lost against it. */
function draw(names: readonly string[], series: readonly number[][]): void {
  const best = series.at(-1)!;
  for (const [i, costs] of series.slice(0, -1).entries()) {
    const lost = costs.map((cost, at) => cost - best[at]!).flatMap((x) => [x, x, x]);
    const lines = plot(lost, { height: 5, min: Math.min(...lost, 0), max: Math.max(...lost) });
    console.log(`\n${names[i]} costs more than ${names.at(-1)} by\n${lines.replace(/ +$/gm, '')}`);
  }
}

/** Mean negative log likelihood of each segment's tokens, and what the cache holds at the end. */
async function segments(
  name: string,
  ids: readonly number[],
  options: LoadOptions,
): Promise<{ costs: number[]; bytes: number }> {
  const model = loadModel(fixture(name), options);
  const cache = model.components.newCache();
  const costs: number[] = [];
  for (let from = 0; from + 1 < ids.length; from = cache.next) {
    const to = Math.min(from + 64, ids.length - 1);
    const logits = await feed(model, ids.slice(0, to), cache, { from, logits: 'all' });
    for (let t = from; t < to; t++)
      costs.push(-logProbability(flat(rowsOf(logits, t - from, t - from + 1)), ids[t + 1]!));
  }
  const whole = Math.floor(costs.length / SEGMENT);
  const means = Array.from({ length: whole }, (_, i) => mean(costs.slice(i * SEGMENT, (i + 1) * SEGMENT)));
  return { costs: means, bytes: cache.bytes().used };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
