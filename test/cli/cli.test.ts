/** The built command line, run as a user runs it. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { VERSION } from '../../src/version.js';
import { MAIN, output, touchstone } from '../support/cli.js';
import { fixture, ROOT, readGolden, temporaryFolder } from '../support/fixtures.js';

const NO_TOKENIZER = 'tiny-llama-rope3-f16';

const { inputIds, generatedIds } = readGolden('austen-llama');
const { prompt, text } = JSON.parse(readFileSync(fixture('austen-llama/golden.json'), 'utf8')) as {
  prompt: string;
  text: string;
};

describe('touchstone', () => {
  it('has the version of the package', () => {
    expect(output(['--version']).trim()).toBe(VERSION);
    expect(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version).toBe(VERSION);
  });

  it.each<[args: string[], code: number, message: string]>([
    [['fly'], 2, "unknown command 'fly'"],
    [['generate', 'x', '--fly'], 2, "unknown option '--fly'"],
    [['generate', 'x', 'y'], 2, 'too many arguments'],
    [['generate', 'x', '--top-p', '2'], 2, 'topP (--top-p): expected a number above 0 and at most 1, got 2'],
    [['generate', 'x', '--seed', '4294967296'], 2, 'seed (--seed)'],
    [['generate', 'x', '--kernel', 'magic'], 2, 'Allowed choices are reference'],
    [['generate', 'x', '--stop', ''], 2, '--stop: expected a text'],
    [['generate', 'x', '--ids', '1,2'], 2, 'The prompt is given twice'],
    [['generate', '--ids', '1,-2'], 2, 'Expected token ids with commas between them'],
    [['generate', 'x', '--echo', '--json'], 2, '--echo: --json holds the prompt already'],
    [['generate', 'x', '--logprobs'], 2, '--logprobs: goes with --json'],
    [['golden', fixture(NO_TOKENIZER), '--ids', '1'], 2, "required option '--out <file>' not specified"],
    [['golden', fixture(NO_TOKENIZER), '--out', 'x'], 2, 'Expected one of --prompt, --ids and --ids-file, got none'],
    [['generate', 'x', '-n', '600'], 1, "exceed the model's context of 512; ask for at most 510 new tokens, or let it"],
    [
      ['generate', 'x', '--model', '/nowhere'],
      1,
      '/nowhere: there is no such folder; expected a checkpoint folder, or a model of the hub',
    ],
    [['golden', fixture(NO_TOKENIZER), '--ids-file', '', '--out', 'x'], 1, ': cannot be read (ENOENT)'],
    [['generate', '--prompt-file', '/nowhere'], 1, '/nowhere: cannot be read (ENOENT)'],
    [
      ['golden', fixture(NO_TOKENIZER), '--ids', '1', '--out', fixture(`${NO_TOKENIZER}/model.safetensors`)],
      2,
      'is a file that is read here',
    ],
    [['generate', '--ids', '1,1024'], 1, 'Token id 1024 is outside the vocabulary, which has the ids 0 to 1023'],
    [['generate', 'x', '--model', fixture(NO_TOKENIZER)], 1, 'there is no tokenizer.json'],
    [
      ['golden', fixture(NO_TOKENIZER), '--ids', '1', '--out', '/nowhere/x'],
      1,
      '/nowhere/x: cannot be written (ENOENT)',
    ],
    [
      ['inspect', '/nowhere'],
      1,
      '/nowhere: there is no such folder; expected a checkpoint folder, or a model of the hub',
    ],
  ])('%j ends with code %i and one sentence', (args, code, message) => {
    const found = touchstone(args);
    expect(found.err).toContain(message);
    expect(found.err).not.toContain('    at ');
    expect(found.code).toBe(code);
    expect(found.out).toBe('');
  });

  it('shows where an error came from with --debug', () => {
    expect(touchstone(['inspect', '/nowhere', '--debug']).err).toContain('    at ');
  });
});

describe('touchstone generate', () => {
  it('continues a prompt as Hugging Face does', () => {
    expect(output(['generate', prompt, '-n', '64', '--echo'])).toBe(`${text}\n`);
    expect(output(['generate', prompt, '-n', '64', '--echo', '--stream'])).toBe(`${text}\n`);
  });

  it('takes the prompt from standard input, a file, or ids', () => {
    const file = join(temporaryFolder(), 'prompt.txt');
    writeFileSync(file, `${prompt}\n`);
    const continuation = `${text.slice(prompt.length)}\n`;
    expect(output(['generate', '-n', '64'], `${prompt}\n`)).toBe(continuation);
    expect(output(['generate', '-n', '64', '--prompt-file', file, '--no-stream'])).toBe(continuation);
    expect(output(['generate', '-n', '64', '--ids', inputIds.join(',')])).toBe(continuation);
  });

  it('prints one JSON object, with log probabilities and timings', () => {
    const found = JSON.parse(output(['generate', prompt, '-n', '64', '--json', '--logprobs']));
    expect(found).toMatchObject({
      prompt,
      prompt_ids: inputIds,
      ids: generatedIds,
      text: text.slice(prompt.length),
      finish_reason: 'length',
    });
    expect(found.logprobs).toHaveLength(64);
    expect(found.stats).toMatchObject({
      prefill_tokens: 81,
      decode_tokens: 63,
      kv_rows_computed: 144,
      kv_bytes_used: 144 * 1536,
    });
  });

  it('counts n(n+1)/2 rows without a cache and n with one', () => {
    const args = ['generate', '--ids', '0', '-n', '20', '--json'];
    const { stats: none } = JSON.parse(output([...args, '--cache', 'none']));
    const { stats: cached } = JSON.parse(output(args));
    expect([none.kv_rows_computed, none.kv_rows_reused]).toEqual([210, 0]);
    expect([cached.kv_rows_computed, cached.kv_rows_reused]).toEqual([20, 190]);
    expect(touchstone([...args.slice(0, -1), '--cache', 'none', '--stats']).err).toContain(
      'KV rows   210 computed, 0 reused (a layer)',
    );
  });

  it('gives the same text for a seed, and says the seed it took', () => {
    const sampled = ['generate', prompt, '-n', '20', '--temperature', '0.9', '--json'];
    const first = JSON.parse(output(sampled));
    const again = JSON.parse(
      output([
        ...sampled,
        '--seed',
        String(first.seed),
        '--cache',
        'none',
        '--attention',
        'mha',
        '--prefill-chunk',
        '7',
      ]),
    );
    expect(again.ids).toEqual(first.ids);
  });

  it('stops before a text, and holds back what may become it', () => {
    const continuation = text.slice(prompt.length);
    const stop = 'said she';
    expect(output(['generate', prompt, '-n', '64', '--stop', 'nowhere', '--stop', stop])).toBe(
      `${continuation.slice(0, continuation.indexOf(stop))}\n`,
    );
    const { finish_reason: reason } = JSON.parse(output(['generate', prompt, '-n', '64', '--stop', stop, '--json']));
    expect(reason).toBe('stop');
  });

  it('prints ids where there is no tokenizer', () => {
    const golden = readGolden(NO_TOKENIZER);
    const args = ['generate', '--model', fixture(NO_TOKENIZER), '--ids', golden.inputIds.join(','), '-n', '5'];
    expect(output(args)).toBe(`${golden.generatedIds.slice(0, 5).join(' ')} \n`);
  });

  it('ends in peace when nobody reads on', async () => {
    const child = spawn(process.execPath, [MAIN, 'generate', prompt, '-n', '200']);
    child.stdout.once('data', () => child.stdout.destroy());
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    expect([code, err]).toEqual([0, '']);
  });
});

describe('touchstone golden', () => {
  it.each(['float32', 'float64'])('writes logits, greedy tokens and margins in %s', (precision) => {
    const folder = temporaryFolder();
    const [out, idsFile] = [join(folder, 'golden.safetensors'), join(folder, 'ids.json')];
    const golden = readGolden(NO_TOKENIZER);
    writeFileSync(idsFile, JSON.stringify(golden.inputIds));
    output([
      'golden',
      fixture(NO_TOKENIZER),
      '--ids-file',
      idsFile,
      '--steps',
      '64',
      '--precision',
      precision,
      '--out',
      out,
    ]);
    withSafetensors(out, (file) => {
      const dtype = precision === 'float32' ? 'F32' : 'F64';
      expect(
        Object.fromEntries([...file.tensors.values()].map((entry) => [entry.name, [entry.dtype, entry.shape]])),
      ).toEqual({
        input_ids: ['I64', [48]],
        logits: [dtype, [111, 256]],
        generated_ids: ['I64', [64]],
        margins: [dtype, [64]],
        positions: ['I64', [111]],
      });
      expect(Array.from(new BigInt64Array(file.read('generated_ids')), Number)).toEqual(golden.generatedIds);
      const logits =
        precision === 'float32' ? new Float32Array(file.read('logits')) : new Float64Array(file.read('logits'));
      for (const [i, truth] of golden.truth.entries())
        if (Math.abs(logits[i]! - truth) > 1e-4) throw new Error(`logit ${i}`);
      const parts = {
        attention: 'gqa',
        visibility: 'causal',
        positions: 'absolute',
        cache: 'contiguous',
        kvDtype: precision,
        kernel: 'reference',
        precision,
      };
      expect(JSON.parse(file.metadata.get('options')!)).toEqual(parts);
      const hashes = JSON.parse(readFileSync(fixture('manifest.json'), 'utf8')).sha256;
      const files = ['config.json', 'model.safetensors'];
      const expected = Object.fromEntries(files.map((name) => [name, hashes[`${NO_TOKENIZER}/${name}`]]));
      expect(JSON.parse(file.metadata.get('sha256')!)).toEqual(expected);
    });
    expect(readdirSync(folder).sort()).toEqual(['golden.safetensors', 'ids.json']);
  });

  it.each([
    [0, 3],
    [1, 3],
    [2, 4],
  ])('with %i steps writes %i rows', (steps, rows) => {
    const out = join(temporaryFolder(), 'golden.safetensors');
    output([
      'golden',
      fixture(NO_TOKENIZER),
      '--ids',
      '5,6,7',
      '--steps',
      String(steps),
      '--out',
      out,
      '--cache',
      'none',
    ]);
    withSafetensors(out, (file) => {
      expect(file.tensors.get('logits')!.shape).toEqual([rows, 256]);
      expect(file.tensors.get('generated_ids')!.shape).toEqual([steps]);
    });
  });

  it('encodes a text prompt', () => {
    const out = join(temporaryFolder(), 'golden.safetensors');
    output(['golden', fixture('austen-llama'), '--prompt', prompt, '--out', out]);
    withSafetensors(out, (file) =>
      expect(Array.from(new BigInt64Array(file.read('input_ids')), Number)).toEqual(inputIds),
    );
  });

  it('writes nothing when it fails', () => {
    const folder = temporaryFolder();
    const idsFile = join(folder, 'ids.json');
    for (const text of ['[]', '{"a": 1}', '[1, "2"]', 'x']) {
      writeFileSync(idsFile, text);
      const { err, code } = touchstone([
        'golden',
        fixture(NO_TOKENIZER),
        '--ids-file',
        idsFile,
        '--out',
        join(folder, 'out'),
      ]);
      expect(err).toContain('ids.json: expected a JSON array of token ids');
      expect(code).toBe(1);
    }
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });
});

describe('touchstone inspect', () => {
  it('describes the embedded checkpoint', () => {
    const found = output(['inspect']);
    expect(found).toContain('grouped-query, 4 query heads to one key/value head, causal');
    expect(found).toContain('1,746,624');
    expect(found).toContain('1,536 bytes a token in float32');
    expect(found).toContain('- nothing');
  });

  it('says what is unusual', () => {
    const { architecture, unusual } = JSON.parse(output(['inspect', fixture('tiny-llama-yarn-bias-f32'), '--json']));
    expect(architecture).toMatchObject({ family: 'llama', attention: 'multi-query', headDim: 40, tiedHead: true });
    expect(unusual.join('\n')).toMatch(
      /^rope scaled: the rope frequencies are scaled.*\nrope magnitude: rope scales.*\n.*biases \(all of them\)\n.*biases\n.*160, which is not the model width 64\nthere is no tokenizer/,
    );
  });
});
