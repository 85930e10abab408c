import { describe, expect, it } from 'vitest';
import { MUTANT_GROUPS, MUTANTS } from '../../src/reference/mutants/index.js';
import { output, touchstone } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';

interface Listed {
  readonly name: string;
  readonly group: string;
  readonly variants?: readonly string[];
}

const listed = (args: readonly string[]): Listed[] =>
  (JSON.parse(output(['mutants', ...args, '--json'])) as { mutants: Listed[] }).mutants;

describe('touchstone mutants', () => {
  it('lists all, by group, a line each', () => {
    const out = output(['mutants']);
    const lines = out.trimEnd().split('\n');
    expect(lines.filter((line) => /^[a-z -]+:$/.test(line))).toEqual(MUTANT_GROUPS.map((group) => `${group}:`));
    for (const { name, mistake } of MUTANTS) expect(lines).toContain(`  ${name}: ${mistake}`);
    expect(lines.at(-1)).toBe(
      `${MUTANTS.length} mutants. touchstone mutants NAME tells the symptom and the fix of one.`,
    );
    expect(out).not.toContain('\x1b');
  });

  it('tells all of one', () => {
    const out = output(['mutants', 'mask-strict']);
    expect(out.trimEnd().split('\n')).toEqual([
      'mask-strict (what is seen)',
      'mistake: a token does not see itself: keys at j < p instead of j <= p',
      'symptom: every row but the first is off',
      'fix: let the diagonal of the mask be seen',
      'may be the same as cache-stale: if all is fed token by token',
    ]);
    const theta = output(['mutants', 'rope-theta', '--model', fixture('tiny-mistral-f16')]);
    expect(theta).toContain(
      '\nlooked for with: theta 100000, theta 150000, theta 500000, theta 1000000, theta 10000000\n',
    );
  });

  it('--json has every field of each', () => {
    const all = listed([]);
    expect(all.map(({ name }) => name)).toEqual(MUTANTS.map(({ name }) => name));
    const [first] = MUTANTS;
    const { name, group, mistake, symptom, fix, sameAs = {} } = first!;
    expect(all[0]).toEqual({ name, group, mistake, symptom, fix, sameAs });
    expect(listed(['rope-theta'])).toHaveLength(1);
  });

  it('--group and --model choose some', () => {
    const positions = listed(['--group', 'positions']);
    expect(positions.map(({ name }) => name)).toEqual(
      MUTANTS.filter(({ group }) => group === 'positions').map(({ name }) => name),
    );
    const own = listed(['--model', fixture('tiny-mistral-f16')]);
    const names = own.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['window-short', 'rope-theta', 'heads-tiled']));
    for (const name of ['sinks-missing', 'latent-norm-missing', 'alibi-missing', 'kv-nibbles-swapped']) {
      expect(names).not.toContain(name);
    }
    expect(own.find(({ name }) => name === 'rope-theta')!.variants).toContain('theta 500000');
    const latent = listed(['--model', fixture('families/deepseek-v2'), '--group', 'latent attention']);
    expect(latent.map(({ name }) => name)).toContain('latent-norm-missing');
    const int4 = listed([
      '--model',
      fixture('tiny-llama-rope3-f16'),
      '--kv-dtype',
      'int4',
      '--group',
      'quantised cache',
    ]);
    expect(int4.map(({ name }) => name)).toEqual(['kv-scale-axis', 'kv-nibbles-swapped']);
    const none = touchstone(['mutants', 'sinks-missing', '--model', fixture('tiny-mistral-f16')]);
    expect(none).toMatchObject({ code: 0, out: expect.stringMatching(/^The model that was given cannot have it/) });
    expect(listed(['sinks-missing', '--group', 'positions'])).toEqual([]);
  });

  it('says what is wrong with what it is asked', () => {
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [['rope-intreleaved'], 2, /There is no mutant rope-intreleaved; did you mean rope-interleaved\?/],
      [['--group', 'rope'], 2, /--group.*positions/s],
      [['--model', fixture('none')], 1, /none/],
      [['a', 'b'], 2, /too many arguments/],
    ];
    for (const [args, code, message] of cases) {
      const found = touchstone(['mutants', ...args]);
      expect(found.code, found.err + found.out).toBe(code);
      expect(found.err).toMatch(message);
      expect(found.err).not.toContain('    at ');
      expect(found.out).toBe('');
    }
  });
});
