/** Requests that cannot be served: 51 to 55. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { RequestError, UsageError } from '../../src/errors.js';
import { checkRequest, feed, generate } from '../../src/generate/generate.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { AUSTEN, bad, damaged, expectRefused, newFolder, TINY } from '../support/bad-input.js';
import { editJson } from '../support/checkpoint.js';
import { touchstoneAside } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';

bad(51, 'an empty prompt, and no token that begins a text', async () => {
  const folder = damaged(AUSTEN, (copy) =>
    editJson(join(copy, 'tokenizer.json'), (value) => ({ ...value, post_processor: null })),
  );
  const says = ['The prompt is empty, and the tokenizer puts no token before it; give at least one character.'];
  const out = join(newFolder(), 'golden.safetensors');
  await expectRefused(['generate', '', '--model', folder], { code: 1, says, folder });
  await expectRefused(['generate', '--model', folder], { code: 1, says, folder }); // from standard input
  await expectRefused(['golden', folder, '--prompt', '', '--out', out], { code: 1, says, folder });
  await expectRefused(['generate', '--ids', ''], { code: 2, says: ["'--ids <ids>' argument '' is invalid"] });
  expect(existsSync(out)).toBe(false);
  // With such a token there is a text to go on from.
  expect((await touchstoneAside(['generate', '', '-n', '2'])).code).toBe(0);
});

bad(52, 'a prompt that with its new tokens is longer than the context', async () => {
  const folder = newFolder();
  const [saved, out] = [join(folder, 'cache.safetensors'), join(folder, 'golden.safetensors')];
  const exceeds = (prompt: number, fresh: number, way: string) =>
    `The prompt's ${prompt} tokens and ${fresh} new ones exceed the model's context of 512; ${way}`;
  const asked = { code: 1, says: [exceeds(2, 511, 'ask for at most 510 new tokens')], folder } as const;
  await expectRefused(['generate', '--ids', '1,2', '-n', '511', '--echo', '--save-cache', saved], asked);
  await expectRefused(['golden', fixture(TINY), '--ids', '1,2', '--steps', '511', '--out', out], asked);
  const long = Array(513).fill(1).join();
  const says = [exceeds(513, 1, 'shorten the prompt')];
  await expectRefused(['generate', '--ids', long], { code: 1, says, folder });
});

const PAGED = ['paged', 'prefix', 'radix'] as const;

bad(53, 'a request larger than the page pool is refused before anything is computed', async () => {
  const folder = newFolder();
  const [saved, out] = [join(folder, 'cache.safetensors'), join(folder, 'golden.safetensors')];
  const pool = ['--page-size', '8', '--pool-pages', '4'];
  const tooLong = { code: 1, says: ['need a cache of 33', 'holds 32 at most', '--pool-pages'], folder } as const;
  for (const cache of PAGED) {
    await expectRefused(['generate', '--ids', '1,2', '-n', '32', '--echo', '--cache', cache, ...pool], tooLong);
    expect(() => generate(...requestOf(cache, 2, 32))).toThrow(RequestError);
  }
  const more = ['--cache', 'paged', ...pool];
  await expectRefused(['golden', fixture(TINY), '--ids', '1,2', '--steps', '32', '--out', out, ...more], tooLong);
  const long = Array(33).fill(1).join();
  await expectRefused(['golden', fixture(TINY), '--ids', long, '--out', out, ...more], tooLong);
  // A page that two continuations go on from is there twice.
  const twice = { code: 1, says: ['need a cache of 37 (one page of the prompt is needed twice)'], folder } as const;
  const sampled = ['--continuations', '2', '--temperature', '1', '--save-cache', saved];
  await expectRefused(['generate', '--ids', '1,2', '-n', '28', ...sampled, ...more], twice);
  await expectExactRoom();
});

const model = (cache: (typeof PAGED)[number], pageSize: number, poolPages: number, residual = 0) =>
  loadModel(fixture(TINY), {
    cache,
    pageSize,
    poolPages,
    kvDtype: residual > 0 ? { dtype: 'int8', residual } : 'auto',
  });

/** A request whose first forward pass would be noticed. */
function requestOf(cache: (typeof PAGED)[number], prompt: number, maxNewTokens: number) {
  const small = model(cache, 8, 4);
  const pause = () => Promise.reject(new Error('a layer was computed'));
  return [small, Array<number>(prompt).fill(1), small.components.newCache(), { maxNewTokens, pause }] as const;
}

/** What is accepted can be served to its end, forks and all; what is refused could not. */
async function expectExactRoom(): Promise<void> {
  const use = fc.record({ fedWhole: fc.boolean(), forked: fc.boolean() });
  const sizes = fc.record({ prompt: fc.integer({ min: 1, max: 9 }), fresh: fc.integer({ min: 0, max: 5 }) });
  const pools = fc.record({
    pageSize: fc.integer({ min: 2, max: 4 }),
    more: fc.integer({ min: -1, max: 1 }),
    residual: fc.constantFrom(0, 0, 2, 4),
  });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PAGED), sizes, pools, use, async (cache, { prompt, fresh }, pool, chosen) => {
      const { pageSize, more, residual } = pool; // about as many pages as are needed: there it is hard to tell
      const of = model(
        cache,
        pageSize,
        Math.max(Math.ceil((prompt + fresh - residual) / pageSize) + more, 1),
        residual,
      );
      const ids = Array.from({ length: prompt }, (_, i) => i);
      const how = { ...chosen, fedWhole: chosen.fedWhole || chosen.forked };
      let accepted = true;
      try {
        checkRequest(of, ids, fresh, how);
      } catch (error) {
        expect(error).toBeInstanceOf(RequestError);
        accepted = false;
      }
      // Of a residual's blocks some are refused that would just fit.
      if (accepted || residual === 0) expect(await served(of, ids, fresh, how)).toBe(accepted);
    }),
    { numRuns: 400 },
  );
}

/** Whether the pool had the pages of a request, carried out as `touchstone generate` does. */
async function served(of: Model, ids: number[], fresh: number, how: { fedWhole: boolean; forked: boolean }) {
  const cache = of.components.newCache();
  try {
    if (how.fedWhole) {
      await feed(of, ids, cache, { from: 0 });
      cache.rollback(ids.length - 1);
    }
    const own = how.forked ? cache.fork() : cache;
    for (let [made, all] = [0, ids]; made < fresh; made++, all = [...all, made]) {
      if (made === 0 && own.next === 0) own.adopt(all.slice(0, -1));
      await feed(of, all, own, { from: all.length - 1 });
    }
    return true;
  } catch (error) {
    expect((error as Error).message).toContain('more pages');
    return false;
  }
}

bad(54, 'a negative number of new tokens, a temperature that is NaN', async () => {
  const wrong: [flag: string, value: string, says: string][] = [
    ['-n', '-3', "option '-n, --max-new-tokens <n>' argument '-3' is invalid. Expected a whole number of at least 0."],
    ['--max-new-tokens', '1.5', 'Expected a whole number of at least 0.'],
    ['-n', 'NaN', 'Expected a whole number of at least 0.'],
    ['--temperature', 'NaN', "option '--temperature <t>' argument 'NaN' is invalid. Expected a number."],
    ['--temperature', 'Infinity', 'Expected a number.'],
    ['--temperature', '-1', 'temperature (--temperature): expected a number of at least 0'],
    ['--top-p', 'NaN', "option '--top-p <p>'"],
    ['--min-p', '-0.1', 'minP (--min-p): expected a number from 0 to 1, got -0.1'],
  ];
  for (const [flag, value, text] of wrong) {
    await expectRefused(['generate', 'x', '--echo', flag, value], { code: 2, says: [text, flag] });
  }
  const of = loadModel(fixture(TINY));
  const request = (options: { maxNewTokens: number; temperature?: number }) => () =>
    generate(of, [1], of.components.newCache(), options);
  for (const maxNewTokens of [-1, 1.5, Number.NaN]) {
    expect(request({ maxNewTokens })).toThrow(UsageError);
  }
  for (const temperature of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
    expect(request({ maxNewTokens: 1, temperature })).toThrow(UsageError);
  }
});

bad(55, 'a chat template that raises', async () => {
  const raising = (template: string) =>
    damaged(AUSTEN, (copy) => writeFileSync(join(copy, 'chat_template.jinja'), template));
  const chat = (folder: string, args: readonly string[] = []) => ['chat', 'Hello', '--model', folder, ...args];
  const own = raising("{{ raise_exception('Only users may begin.') }}");
  const refuses = `${join(own, 'chat_template.jinja')}: the chat template refuses this conversation: Only users may begin.`;
  await expectRefused(chat(own), { code: 1, says: [refuses], folder: own });
  const broken = raising('{{ messages[0].content.nonsense() }}');
  await expectRefused(chat(broken), {
    code: 1,
    says: ['chat_template.jinja: the chat template cannot render'],
    folder: broken,
  });
  const open = raising('{% for m in messages %}');
  await expectRefused(chat(open), {
    code: 1,
    says: ['chat_template.jinja: the chat template is not valid Jinja'],
    folder: open,
  });
  const given = join(raising("{{ raise_exception('No.') }}"), 'chat_template.jinja');
  await expectRefused(chat(own, ['--chat-template', given]), {
    code: 1,
    says: [`${given}: the chat template refuses`],
  });
});
