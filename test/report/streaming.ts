/**
 * `npm run report:streaming`: prose that the checkpoint has not read, several times as long as the context that it was trained on, seen in several
 * ways: nats a token in each segment, and a plot. Lower is better; what a model knows nothing of costs ln N.
 */
import { readFileSync } from 'node:fs';
import { plot } from 'asciichart';
import { feed } from '../../src/generate/generate.js';
import { logProbability } from '../../src/generate/sampler.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { flat, rowsOf } from '../../src/tensor/tensor.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { fixture } from '../support/fixtures.js';

const [NAME = 'austen-llama', WINDOW = '128'] = process.argv.slice(2);
const window = Number(WINDOW);
const SEGMENT = 128;

const ids = textOf(NAME);
const sinks = { kind: 'sinks', sinks: 4, window } as const;
const runs: [string, LoadOptions][] = [
  ['everything', {}],
  [`sliding ${window}`, { visibility: { kind: 'sliding', window }, cache: 'ring' }],
  [`sinks 4 + ${window}`, { visibility: sinks, cache: 'ring' }],
  [`sinks 4 + ${window} in-cache`, { visibility: sinks, cache: 'ring', positions: 'in-cache' }],
];

const read: { costs: number[]; bytes: number }[] = [];
for (const [, options] of runs) read.push(await segments(options));
const series = read.map(({ costs }) => costs);
const context = loadModel(fixture(NAME)).config.context;
console.log(`${NAME}, trained on ${context} tokens, reads ${ids.length}: nats a token in segments of ${SEGMENT}\n`);
console.log(`| seen | first ${context} | after them | worst segment | KV bytes at the end |`);
console.log('| --- | --- | --- | --- | --- |');
for (const [i, [name]] of runs.entries()) {
  const [inside, beyond] = [series[i]!.slice(0, context / SEGMENT), series[i]!.slice(context / SEGMENT)];
  const numbers = [mean(inside), mean(beyond), Math.max(...series[i]!)].map((x) => x.toFixed(2));
  console.log(`| ${name} | ${numbers.join(' | ')} | ${read[i]!.bytes.toLocaleString('en-US')} |`);
}
const [min, max] = [Math.floor(Math.min(...series.flat())), Math.ceil(Math.max(...series.flat()))];
for (const [i, [name]] of runs.entries()) {
  const lines = plot(
    series[i]!.flatMap((x) => [x, x, x]),
    { height: 6, min, max },
  );
  console.log(`\n${name}\n${lines.replace(/ +$/gm, '')}`);
}

function textOf(name: string): number[] {
  const { vocabulary } = loadModel(fixture(name)).config;
  return loadTokenizer(fixture(name), vocabulary)!.encode(readFileSync(fixture('austen-held-out.txt'), 'utf8'));
}

/** Mean negative log likelihood of each segment's tokens, and what the cache holds at the end. */
async function segments(options: LoadOptions): Promise<{ costs: number[]; bytes: number }> {
  const model = loadModel(fixture(NAME), options);
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
