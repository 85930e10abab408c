import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAIN, output, touchstone } from '../support/cli.js';
import { ROOT, temporaryFolder } from '../support/fixtures.js';
import { describeWith } from '../support/parts.js';

const complete = (...words: string[]) =>
  output(['complete', '--', ...words])
    .trim()
    .split('\n');

describe('completion', () => {
  it('names commands, options, and the values that there are', () => {
    expect(complete('')).toEqual(expect.arrayContaining(['generate', 'chat', 'bench', 'completion']));
    expect(complete('')).not.toContain('complete');
    expect(complete('gen')).toEqual(['generate']);
    expect(complete('bench', 'a')).toEqual(['attention']);
    expect(complete('generate', '--cache-')).toEqual(['--cache-tokens']);
    expect(complete('generate', '--cache', 'con')).toEqual(['contiguous']);
    expect(complete('generate', '--cache', '=')).toContain('contiguous');
    expect(complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(complete('completion', 'bash', '')).toEqual(['']);
    expect(complete('generate', '--cache=pre')).toEqual(['--cache=preallocated', '--cache=prefix']);
    expect(complete('generate', '--cache', '=', 'con')).toEqual(['contiguous']);
    expect(complete('chat', '--', '--ca')).toEqual(['']);
  });

  it('names nothing where a file or any text may come', () => {
    expect(complete('generate', '--prompt-file', '')).toEqual(['']);
    expect(complete('generate', 'It was')).toEqual(['']);
    expect(complete('generate', '--temperature', '1', '--cache', 'pre')).toEqual(['preallocated', 'prefix']);
  });

  it('is refused for another shell', () => {
    const { err, code } = touchstone(['completion', 'tcsh']);
    expect(err).toContain('Allowed choices are bash, zsh, fish');
    expect(code).toBe(2);
  });
});

/** Lines that a shell prints with our script sourced, and `touchstone` in its path. */
function shell(name: string, args: readonly string[], text: string): string[] {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'touchstone'), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(join(folder, 'touchstone'), 0o755);
  writeFileSync(join(folder, 'script'), text);
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder };
  const { stdout, stderr } = spawnSync(name, [...args, join(folder, 'script')], { encoding: 'utf8', cwd: ROOT, env });
  expect(stderr).toBe('');
  expect(existsSync(join(folder, 'evaluated')), 'what is typed is not run').toBe(false);
  return stdout.trim().split('\n');
}

const missing = (name: string) =>
  spawnSync(name, ['-c', ':']).error ? `there is no ${name}, whose completion is tested with it.` : null;

describeWith(missing('bash'), 'in bash', () => {
  it('completes a word, and runs nothing that is typed', () => {
    const text = `source <(touchstone completion bash)
      source <(touchstone completion bash)
      ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _touchstone; printf '%s\\n' "\${COMPREPLY[*]}"; }
      ask touchstone generate --cache pre
      ask touchstone generate --prompt '$(touch $HOME/evaluated)' --cache = con
      complete -p touchstone`;
    const [values, after, how] = shell('bash', ['--norc'], text);
    expect([values, after]).toEqual(['preallocated prefix', 'contiguous']);
    expect(how).toContain('-o default'); // files
  });
});

describeWith(missing('zsh'), 'in zsh', () => {
  it('completes a word and says what it is, or leaves it to files', () => {
    const text = `autoload -Uz compinit; compinit -D -u
      source <(touchstone completion zsh)
      _describe() { print -l -- \${(P)3}; }
      _files() { print files; }
      ask() { words=("$@"); CURRENT=$#; _touchstone; }
      ask touchstone generate --cache pre
      ask touchstone gen
      ask touchstone generate '$(touch $HOME/evaluated)' --prompt-file ''`;
    expect(shell('zsh', ['-f'], text)).toEqual([
      'preallocated',
      'prefix',
      expect.stringMatching(/^generate:continue a prompt/),
      'files',
    ]);
  });
});

describeWith(missing('fish'), 'in fish', () => {
  it('completes a word and says what it is, or leaves it to files', () => {
    const text = `touchstone completion fish | source
      complete -C 'touchstone generate --cache pre'
      complete -C 'touchstone gen'
      complete -C 'touchstone generate --prompt-file CHANGE'`;
    expect(shell('fish', ['--no-config'], text)).toEqual([
      'preallocated',
      'prefix',
      expect.stringMatching(/^generate\tcontinue a prompt/),
      'CHANGELOG.md',
    ]);
  });
});
