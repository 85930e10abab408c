import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openDump } from '../../../src/reference/dump/open.js';
import { ROOT, temporaryFolder } from '../../support/fixtures.js';
import { describeWith } from '../../support/parts.js';

const missing = (compiler: string) => (spawnSync(compiler, ['--version']).error ? `there is no ${compiler}.` : null);

/** Each a compiler, and what it has to be told. */
const LANGUAGES: readonly [compiler: string, flags: string[], ending: string][] = [
  ['gcc', ['-std=c99'], '.c'],
  ['g++', ['-std=c++11'], '.cpp'],
];

for (const [compiler, flags, ending] of LANGUAGES) {
  describeWith(missing(compiler), `touchstone_dump.h, compiled by ${compiler}`, () => {
    const build = (source: string) => {
      const folder = temporaryFolder();
      const [code, program] = [join(folder, `dump${ending}`), join(folder, 'dump')];
      if (existsSync(source)) copyFileSync(source, code);
      else writeFileSync(code, source);
      const warnings = ['-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined'];
      const include = `-I${join(ROOT, 'cli', 'dumpers')}`;
      const { stderr, status } = spawnSync(compiler, [...flags, ...warnings, include, code, '-o', program], {
        encoding: 'utf8',
      });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      return program;
    };

    it('writes what the reader reads', () => {
      const file = join(temporaryFolder(), 'theirs.safetensors');
      const { status, stderr } = spawnSync(build(join(ROOT, 'test', 'cli', 'dumpers', 'header.c')), [file], {
        encoding: 'utf8',
      });
      expect([status, stderr]).toEqual([0, '']);
      const dump = openDump(file);
      const found = [...dump.tensors.values()].map(({ name, dtype, shape, read }) => [name, dtype, shape, [...read()]]);
      dump.close();
      expect(found).toEqual([
        ['logits', 'F32', [2, 3], [0, 0.25, 0.5, 0.75, 1, 1.25]],
        ['odd "name" \\ \n', 'BF16', [3], [1, -2.5, 0]],
        ['input_ids', 'I64', [3], [5, 7, 11]],
        ['Qcur-0', 'F32', [3], [0, 0.25, 0.5]],
        ['Qcur-0#1', 'F32', [3], [0.25, 0.5, 0.75]],
        ['Qcur-0#2', 'F32', [3], [0.5, 0.75, 1]],
        ['scalar', 'F64', [], [0.1]],
        ['empty', 'F32', [0, 4], []],
      ]);
      expect(dump.metadata).toEqual({ format: 'touchstone-dump-1', dtype: 'float32' });
    });

    it('leaves nothing behind where anything failed', () => {
      const folder = temporaryFolder();
      const program = build(`#include "touchstone_dump.h"
        int main(int count, char **arguments) {
          int64_t shape[] = {1};
          float value = 1;
          ts_dump *dump = ts_open(arguments[1]);
          if (ts_add(dump, "a", "F32", shape, 1, &value) != 0) return 4;
          if (ts_add(dump, "b", "Q4_0", shape, 1, &value) == 0) return 5;
          return (void)count, ts_close(dump);
        }`);
      expect(spawnSync(program, [join(folder, 'theirs.safetensors')]).status).toBe(1);
      expect(spawnSync(program, [join(folder, 'nowhere', 'theirs.safetensors')]).status).not.toBe(0);
      expect(readdirSync(folder)).toEqual([]);
      const taken = join(folder, 'folder');
      mkdirSync(join(taken, 'full'), { recursive: true });
      expect(spawnSync(build(join(ROOT, 'test', 'cli', 'dumpers', 'header.c')), [taken]).status).toBe(1);
      expect(readdirSync(folder)).toEqual(['folder']);
    });
  });
}
