import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readJson } from '../../src/checkpoint/json-file.js';
import { strictUtf8 } from '../../src/checkpoint/strict-utf8.js';
import { CheckpointError } from '../../src/errors.js';
import { temporaryFolder } from '../support/fixtures.js';

function stored(text: string): string {
  const file = join(temporaryFolder(), 'some.json');
  writeFileSync(file, text);
  return file;
}

describe('a JSON file', () => {
  test.prop([fc.json({ maxDepth: 20, stringUnit: fc.constantFrom('[', '{', '"', '\\', 'é', '😀') }), fc.boolean()])(
    'is what JSON.parse makes of it, whatever its texts hold',
    (text, indented) => {
      const written = indented ? JSON.stringify(JSON.parse(text), null, 2) : text;
      expect(readJson(stored(written))).toEqual(JSON.parse(text));
    },
  );

  it.each([
    ['arrays', '[', ']'],
    ['objects', '{"a":', '}'],
    ['both', '[{"[[[\\"": ', '}]'],
  ])('may nest %s 100 deep and no deeper, which is said of what is cut short, too', (_, open, close) => {
    const each = open.length === 11 ? 2 : 1;
    const nested = (depth: number) => `${open.repeat(depth / each)}0${close.repeat(depth / each)}`;
    expect(() => readJson(stored(nested(100)))).not.toThrow();
    const file = stored(nested(100 + each));
    expect(() => readJson(file)).toThrow(CheckpointError);
    expect(() => readJson(file)).toThrow(`${file}: expected JSON, got arrays or objects nested more than 100 deep.`);
    expect(() => readJson(stored(open.repeat(500)))).toThrow('nested more than 100 deep');
  });

  it('counts what is closed again', () => {
    expect(readJson(stored(`[${Array(300).fill('[{}]').join()}]`))).toHaveLength(300);
  });
});

describe('strict UTF-8', () => {
  const fail = (problem: string): never => {
    throw new Error(problem);
  };

  test.prop([fc.uint8Array({ maxLength: 12 })])('is what encodes to the same bytes again', (bytes) => {
    const replaced = Buffer.from(bytes).toString('utf8');
    const valid = Buffer.from(replaced).equals(Buffer.from(bytes));
    if (!valid) expect(() => strictUtf8(bytes, 'it', fail)).toThrow('it is not valid UTF-8.');
    else if (replaced.startsWith('\uFEFF')) expect(() => strictUtf8(bytes, 'it', fail)).toThrow('byte-order mark');
    else expect(strictUtf8(bytes, 'it', fail)).toBe(replaced);
  });

  test.prop([fc.string({ unit: 'binary' })])('keeps every text', (text) => {
    fc.pre(!text.startsWith('\uFEFF'));
    expect(strictUtf8(Buffer.from(text), 'it', fail)).toBe(text);
  });
});
