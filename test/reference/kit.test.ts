import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { loadModel } from '../../src/model/load.js';
import { compare } from '../../src/reference/compare/index.js';
import { type KitPrompt, type KitSummary, writeKit } from '../../src/reference/kit/index.js';
import { KIT_RECIPES } from '../../src/reference/kit/recipes.js';
import { readTraceMetadata } from '../../src/reference/trace/format.js';
import { trace } from '../../src/reference/trace/index.js';
import { expectSameBits } from '../support/bits.js';
import { FIXTURES, temporaryFolder } from '../support/fixtures.js';
import { kitTrace } from '../support/kit.js';

const folder = mkdtempSync(join(tmpdir(), 'touchstone-kit-'));
const kit = join(folder, 'kit');
let summary: KitSummary;
let prompts: Record<string, KitPrompt>;
beforeAll(async () => {
  summary = await writeKit(kit);
  prompts = JSON.parse(readFileSync(join(kit, 'prompts.json'), 'utf8'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function filesOf(root: string): string[] {
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return all.filter((name) => statSync(join(root, name)).isFile()).sort();
}

function hashOf(root: string, name: string): string {
  return createHash('sha256')
    .update(readFileSync(join(root, name)))
    .digest('hex');
}

describe('a kit', () => {
  it('is the same each time, small, and described by its manifest', async () => {
    const { sha256, ...about } = JSON.parse(readFileSync(join(kit, 'manifest.json'), 'utf8'));
    expect(about).toEqual({ format: 'touchstone-kit-1', touchstone: expect.stringMatching(/^\d/) });
    const listed = filesOf(kit).filter((name) => name !== 'manifest.json');
    expect(sha256).toEqual(Object.fromEntries(listed.map((name) => [name, hashOf(kit, name)])));
    const again = join(folder, 'again');
    expect(await writeKit(again)).toEqual(summary);
    expect(filesOf(again)).toEqual(filesOf(kit));
    expect(hashOf(again, 'manifest.json')).toBe(hashOf(kit, 'manifest.json'));
    expect(summary.files).toBe(listed.length + 1);
    expect(summary.bytes).toBe(filesOf(kit).reduce((sum, name) => sum + statSync(join(kit, name)).size, 0));
    expect(summary.bytes).toBeLessThan(6e6);
  });

  it('has the page and the schema of traces, and a README that names all that is in it', () => {
    expect(hashOf(kit, 'TRACE.md')).toBe(hashOf(FIXTURES, 'TRACE.md'));
    expect(hashOf(kit, 'schema.json')).toBe(hashOf(FIXTURES, 'trace.schema.json'));
    const readme = readFileSync(join(kit, 'README.md'), 'utf8');
    const parts = readdirSync(kit).filter((name) => name !== 'README.md');
    for (const name of [...summary.traces, ...parts]) expect(readme).toContain(`\`${name}`);
    expect(summary.traces).toEqual(
      readdirSync(join(kit, 'traces'))
        .map((file) => file.replace('.safetensors', ''))
        .sort(inTable),
    );
    function inTable(a: string, b: string) {
      return readme.indexOf(`| \`${a}\` |`) - readme.indexOf(`| \`${b}\` |`);
    }
  });

  it('tells which tensors touchstone compare leaves out', async () => {
    const readme = readFileSync(join(kit, 'README.md'), 'utf8');
    expect(readme).toContain('`layers.N.cache.*`, `block_table` and `margins` it leaves to you');
    const file = join(kit, 'traces', 'gqa.paged.safetensors');
    const compared = (await compare(file, file)).tensors.map(({ name }) => name);
    const left = [...kitTrace(kit, 'gqa.paged').values.keys()].filter(
      (name) => !compared.includes(name) && !/^(noise\.|(input_ids|generated_ids|positions)$)/.test(name),
    );
    const kinds = new Set(left.map((name) => name.replace(/^layers\.\d\.cache\..*/, 'layers.N.cache.*')));
    expect([...kinds].sort()).toEqual(['block_table', 'layers.N.cache.*', 'margins']);
  });

  it.each(KIT_RECIPES.map(({ name }) => name))(
    'has a checkpoint %s that loads, and whose trace is what it computes, to the bit',
    async (name) => {
      const checkpoint = join(kit, 'checkpoints', name);
      const noiseOf = loadModel(checkpoint, { precision: 'float64' });
      const { input_ids: ids, generated_ids: generated } = prompts[name]!;
      const fresh = await trace(loadModel(checkpoint), ids, { capture: 'all', steps: generated.length, noiseOf });
      const { values, metadata } = kitTrace(kit, name);
      expect(metadata).toEqual(fresh.metadata);
      expect(readTraceMetadata(metadata, name).capture).toBe('all');
      expect([...values.keys()].sort()).toEqual([...fresh.tensors.keys()].sort());
      for (const [tensor, { read }] of fresh.tensors)
        expectSameBits(values.get(tensor)!, Float64Array.from(read()), tensor);
      expect([...values.get('generated_ids')!]).toEqual(generated);
      expect(statSync(join(checkpoint, 'model.safetensors')).size).toBeLessThan(150e3);
    },
  );

  it.each(KIT_RECIPES.map(({ name }) => name))('has logits of %s that are finite, lively, and no near ties', (name) => {
    const { values } = kitTrace(kit, name);
    const [logits, noise, margins] = ['logits', 'noise.logits', 'margins'].map((tensor) => values.get(tensor)!) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const mean = logits.reduce((sum, value) => sum + value, 0) / logits.length;
    const variance = logits.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logits.length;
    expect(Math.sqrt(variance)).toBeGreaterThan(1);
    expect(Math.sqrt(variance)).toBeLessThan(2);
    expect(Math.min(...margins)).toBeGreaterThan(100 * Math.max(...noise));
    expect(new Set(prompts[name]!.generated_ids).size).toBe(3);
  });
});

describe('where a kit is written', () => {
  it('may be an empty folder, and may have some checkpoints alone', async () => {
    const out = temporaryFolder();
    const done = await writeKit(out, { only: ['gqa', 'window'] });
    expect(done.traces).toEqual(['gqa', 'window', 'gqa.paged', 'window.ring']);
    expect(readdirSync(out).sort()).toEqual([
      'README.md',
      'TRACE.md',
      'checkpoints',
      'manifest.json',
      'prompts.json',
      'schema.json',
      'traces',
    ]);
    expect(readdirSync(join(out, 'checkpoints')).sort()).toEqual(['gqa', 'window']);
    for (const name of done.traces) {
      expect(hashOf(out, `traces/${name}.safetensors`)).toBe(hashOf(kit, `traces/${name}.safetensors`));
    }
  });

  it('may not be a file, nor hold anything, and a name must be one of a checkpoint', async () => {
    const parent = temporaryFolder();
    const file = join(parent, 'file');
    writeFileSync(file, 'mine');
    await expect(writeKit(file)).rejects.toThrow(
      new UsageError(`${file}: is a file; name a folder that is empty, or not there yet.`),
    );
    await expect(writeKit(parent)).rejects.toThrow(
      new UsageError(`${parent}: is not empty; name a folder that is, or is not there yet.`),
    );
    await expect(writeKit(join(parent, 'kit'), { only: ['gqa', 'mta'] })).rejects.toThrow(
      /^only \(--only\): expected mha, gqa, .* or mla, got mta\.$/,
    );
    await expect(writeKit(join(parent, 'no', 'kit'))).rejects.toThrow(/kit: cannot be written \(ENOENT\)\.$/);
    expect(readdirSync(parent)).toEqual(['file']);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  it('has nothing in it if something is thrown on the way', async () => {
    const parent = temporaryFolder();
    mkdirSync(join(parent, 'empty'));
    const listeners = process.listenerCount('exit');
    for (const out of ['new', 'empty']) {
      let passes = 40;
      const pause = async () => {
        if (--passes === 0) throw new Error('gone');
      };
      await expect(writeKit(join(parent, out), { pause })).rejects.toThrow('gone');
    }
    expect(readdirSync(parent, { recursive: true })).toEqual(['empty']);
    expect(process.listenerCount('exit')).toBe(listeners);
  });
});
