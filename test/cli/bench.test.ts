/** `touchstone bench cache`, as a user runs it. */
import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { MAIN, output, touchstone } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';

const SMALL = ['bench', 'cache', '--requests', '40', '--max-tokens', '200', '--memory-tokens', '800'];

describe('touchstone bench cache', () => {
  it('prints the same tables for a seed, and others for another one', () => {
    const args = [...SMALL, '--page-sizes', '1,16', '--no-times'];
    const found = output(args);
    expect(output(args)).toBe(found);
    expect(output([...args, '--seed', '1'])).not.toBe(found);
    expect(found).toContain('40 requests (seed 0) are served from memory of 800 tokens.');
    const names = [...found.matchAll(/^\| ([^|]+?) \|/gm)].map(([, name]) => name!.trim());
    expect(names.filter((name) => !name.startsWith('---'))).toEqual([
      'memory',
      'reserve the maximum',
      'reserve a power of two',
      'reserve the length itself',
      'pages of 1 token',
      'pages of 16',
      'cache',
      'paged (none)',
      'prefix (hash)',
      'radix (tree)',
    ]);
    const widths = found
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) => line.split(' | ').length);
    expect(widths).toEqual([...Array(7).fill(13), ...Array(5).fill(8)]);
    expect(found).not.toContain(' ms');
    expect(found).not.toContain('Published:'); // of other sizes
  });

  it('prints one JSON object, with times of the model and the pages that are asked for', () => {
    const model = ['--model', fixture('tiny-llama-rope3-f16')];
    const found = JSON.parse(output([...SMALL, '--page-sizes', '8', ...model, '--json']));
    expect(found.workload).toMatchObject({ seed: 0, requests: 40, maxTokens: 200, memoryTokens: 800 });
    expect(found.fragmentation.map(({ kind, name }: { kind: string; name: string }) => `${kind} ${name}`)).toContain(
      'pages 8',
    );
    expect(found.times.map(({ pageSize, cache }: { pageSize: number; cache: string }) => [pageSize, cache])).toEqual([
      [8, 'paged'],
      [8, 'prefix'],
      [8, 'radix'],
    ]);
    for (const { step, tables } of found.times) expect(step).toBeGreaterThan(tables);
  });

  it('prints a table of times, of pages that the requests can fill', () => {
    const found = output([...SMALL, '--page-sizes', '64,512', '--model', fixture('tiny-llama-rope3-f16')]);
    expect(found).toMatch(
      /^\| 64 +\| +radix \| +[\d.]+ \| +[\d.]+ \| +[\d.]+ % \| +[\d.]+ % \| +[\d.]+ % \| +\d+ \| +[\d.]+ \|$/m,
    );
  });

  it('says of pages that are longer than any timed sequence that they are not timed', () => {
    const found = output([...SMALL, '--page-sizes', '512', '--model', fixture('tiny-llama-rope3-f16')]);
    expect(found).toContain('Pages of more than 256 tokens are not timed');
    expect(found).not.toContain('NaN');
  });

  it.each<[args: string[], code: number, message: string]>([
    [['bench', 'fly'], 2, "unknown command 'fly'"],
    [['bench', 'cache', 'x'], 2, 'too many arguments'],
    [['bench', 'cache', '--page-sizes', '16,0'], 2, 'Expected tokens a page with commas between them'],
    [['bench', 'cache', '--page-sizes', ''], 2, 'Expected tokens a page with commas between them'],
    [['bench', 'cache', '--requests', '0'], 2, 'Expected a whole number of at least 1'],
    [['bench', 'cache', '--max-tokens', '1'], 2, 'Expected a whole number of at least 2'],
    [['bench', 'cache', '--seed', '4294967296'], 2, '--seed: expected a whole number from 0 to 4294967295'],
    [['bench', 'cache', '--memory-tokens', '2000'], 2, 'a request may have 2048 (--max-tokens); give more memory'],
    [[...SMALL, '--page-sizes', '8,801'], 2, '800 tokens hold 0 in whole pages of 801, and a request may have 200'],
    [
      ['bench', 'cache', '--memory-tokens', '100', '--max-tokens', '100', '--page-sizes', '1'],
      2,
      'in whole pages of 16',
    ],
    [['bench', 'cache', '--requests', '2', '--no-times'], 2, 'No request ever waits for memory'],
    [['bench', 'cache', '--model', 'x', '--no-times'], 2, '--model: with --no-times no model is run'],
    [
      [...SMALL, '--model', '/nowhere'],
      1,
      '/nowhere: there is no such folder; expected a checkpoint folder, or a model of the hub',
    ],
  ])('%j ends with code %i and one sentence', (args, code, message) => {
    const found = touchstone(args);
    expect(found.err).toContain(message);
    expect(found.err).not.toContain('    at ');
    expect([found.code, found.out]).toEqual([code, '']);
  });

  it('ends with code 130 when it is interrupted', async () => {
    const child = spawn(process.execPath, [MAIN, 'bench', 'cache', '--requests', '5000']);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    child.kill('SIGINT');
    const start = performance.now();
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(130);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
