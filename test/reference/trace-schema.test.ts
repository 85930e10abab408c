import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadModel } from '../../src/model/load.js';
import { readTraceMetadata, TRACE_AXES, TRACE_FORMAT } from '../../src/reference/trace/format.js';
import { type TraceOptions, trace } from '../../src/reference/trace/index.js';
import { traceSchemaText } from '../../src/reference/trace/schema.js';
import { FIXTURES, fixture } from '../support/fixtures.js';

const SCHEMA = join(FIXTURES, 'trace.schema.json');
const PAGE = readFileSync(join(FIXTURES, 'TRACE.md'), 'utf8');

/** Rows of the page's tables about tensors: name -> axes. */
const axesOfPage = new Map(
  [...PAGE.matchAll(/^\| `(?:layers\.N\.)?([a-z_.]+)` \| (\w+) \|/gm)].map(([, name, axes]) => [name!, axes!]),
);

describe('the schema of traces', () => {
  it('is the file that is committed', async () => {
    await expect(traceSchemaText()).toMatchFileSnapshot(SCHEMA);
  });

  it.each<[string, string, TraceOptions]>([
    ['a dense model', fixture('tiny-llama-rope3-f16'), {}],
    ['experts, latent attention, all there is', fixture('tiny-deepseek-v3-bf16'), { capture: 'all' as const }],
    ['one layer', fixture('tiny-gpt-oss-bf16'), { layers: [1], positions: [0, 2] }],
    ['logits alone, in a paged cache', fixture('tiny-mistral-f16'), { capture: 'logits' as const }],
  ])('describes the metadata of a real trace: %s', async (_, folder, options) => {
    const noiseOf = options.layers ? loadModel(folder, { precision: 'float64' }) : undefined;
    const { metadata } = await trace(loadModel(folder, { cache: 'paged' }), [1, 2, 3], { ...options, noiseOf });
    expect(committed().parse(metadata)).toEqual(metadata);
    expect(readTraceMetadata(metadata, 'a trace')).toEqual(metadata);
    expect('noise' in metadata).toBe(noiseOf !== undefined);
  });

  it('refuses metadata that are not so, by the code and, but for what is within strings, by the schema', async () => {
    const { metadata } = await trace(loadModel(fixture('tiny-mistral-f16')), [1]);
    const schema = committed();
    for (const [key, value] of [
      ['format', 'touchstone-trace-2'],
      ['capture', 'some'],
      ['touchstone', undefined],
    ] as const) {
      const { [key]: _, ...others } = metadata;
      const wrong = (value === undefined ? others : { ...others, [key]: value }) as typeof metadata;
      expect(schema.safeParse(wrong).success, key).toBe(false);
      expect(() => readTraceMetadata(wrong, 'x.safetensors'), key).toThrow(
        new RegExp(`^x\\.safetensors: .*${TRACE_FORMAT}: ${key}: `),
      );
    }
    for (const [key, value] of Object.entries({ layers: '[0, -1]', sha256: '{"a": "b"}', axes: '{', options: '[]' })) {
      expect(() => readTraceMetadata({ ...metadata, [key]: value }, 'x'), key).toThrow(
        `x: its metadata are not those of a ${TRACE_FORMAT}: ${key}: not the JSON that is described.`,
      );
    }
    expect(readTraceMetadata({ ...metadata, more: 'of another program' }, 'x')).toEqual(metadata);
  });
});

describe('the page about traces', () => {
  it.each(Object.entries(TRACE_AXES))('names %s, and its axes', (name, axes) => {
    expect(axesOfPage.get(name)).toBe(axes);
  });

  it('names nothing that is not there, in the order in which it is computed', () => {
    const run = ['input_ids', 'generated_ids', 'margins', 'positions'];
    const others = ['block_table', 'cache.positions', 'cache.block_rows'];
    const points = [...axesOfPage.keys()].filter((name) => !run.includes(name) && !others.includes(name));
    expect(points).toEqual(Object.keys(TRACE_AXES));
  });

  it('names all tensors of real traces, with axes of as many letters', async () => {
    for (const name of ['tiny-deepseek-v3-bf16', 'families/gemma2', 'families/gpt-neox', 'families/llama4-text']) {
      for (const attention of ['auto', ...(name.includes('deepseek') ? (['mla'] as const) : [])] as const) {
        const made = await trace(loadModel(fixture(name), { attention, cache: 'paged' }), [1, 2], { capture: 'all' });
        for (const { name: tensor, shape } of made.tensors.values()) {
          const kind = tensor.replace(/^layers\.\d+\./, '');
          if (/^cache\.(k|v|latent|rope_key)$/.test(kind)) expect(PAGE).toContain(`.${kind.slice(6)}\``);
          else expect(axesOfPage.get(kind)?.length, `${name}: ${tensor}`).toBe(shape.length);
        }
      }
    }
  });

  it('names every letter of an axis, each key of the metadata, and the format', () => {
    const letters = new Set(Object.values(TRACE_AXES).join(''));
    const table = PAGE.slice(0, PAGE.indexOf('## The run'));
    for (const letter of letters) expect(table, letter).toMatch(new RegExp(`^\\| (\\w, )*${letter}(, \\w)* \\|`, 'm'));
    const { properties } = JSON.parse(readFileSync(SCHEMA, 'utf8')) as { properties: object };
    const metadata = PAGE.slice(PAGE.indexOf('## Metadata'));
    for (const key of Object.keys(properties)) expect(metadata).toContain(`\`${key}\``);
    expect(PAGE).toContain(TRACE_FORMAT);
  });
});

/** The committed schema, as a validator. */
function committed(): z.ZodType {
  return z.fromJSONSchema(JSON.parse(readFileSync(SCHEMA, 'utf8')));
}
