import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { showsColor } from '../../cli/compare-paint.js';
import { comparisonText, type TextOptions } from '../../cli/compare-text.js';
import type { Comparison } from '../../src/reference/compare/comparison.js';
import { comparisonOf, divergenceOf, measuresOf, passOf, problemOf, tensorOf } from '../support/comparison.js';

const plain = (comparison: Comparison, more: Partial<TextOptions> = {}) =>
  comparisonText(comparison, { columns: 100, color: false, ...more });
const firstLine = (comparison: Comparison) => plain(comparison, { columns: Number.POSITIVE_INFINITY }).split('\n')[0];
const lines = (text: string) => text.trimEnd().split('\n');
const rowsOf = (text: string) => lines(text).filter((line) => line.startsWith('| ') && !/^\| (tensor|---)/.test(line));
const rope = tensorOf('layers.1.attention.q_rope', [0.5, 0.4, 4e5], {
  theirName: 'model.layers.1.self_attn.q_rope',
  worst: { position: 2, head: 3, index: [3, 7], theirs: 0.123456712, ours: -0.76543213, noise: 1.2e-7 },
});
const small = [
  tensorOf('embeddings', [0, 0, 0]),
  tensorOf('layers.0.attention.q', [0.5, 0.25, 0.75]),
  tensorOf('layers.0.output', [0.5, 0.25, 0.5]),
  rope,
  tensorOf('layers.1.output', [0.5, 0.25, 2e3]),
  tensorOf('logits', [0.5, 4, 60], { measures: measuresOf(60, { kl: { mean: 1.25e-3, max: 0.02, top1: 2 / 3 } }) }),
];

describe('the text of a comparison', () => {
  it('begins with what a reader can act on, and goes on to what is around it', () => {
    expect(plain(comparisonOf(small, { notes: ['Their rows are those of the prompt.'] }))).toMatchInlineSnapshot(`
      "different: first at layers.1.attention.q_rope (theirs: model.layers.1.self_attn.q_rope), position 2,
        head 3, index 7: theirs 0.1234567, ours -0.7654321, noise 1.2e-7
      before it: 3 tensors within noise, the last of them layers.0.output
      positions: it differs at 1 of 3: 2
      compared: dump.safetensors, in float32, with austen-llama, in float32

      | tensor                    | verdict      | x noise | max abs |    RMS |  noise |   ULP |
      | ------------------------- | ------------ | ------: | ------: | -----: | -----: | ----: |
      | embeddings                | identical    |       0 |       0 |      0 | 1.0e-7 |     0 |
      | layers.0 (2): attention.q | within noise |    0.75 |  2.2e-7 | 7.5e-8 | 1.0e-7 |     6 |
      | layers.1.attention.q_rope | different    |   4.0e5 |    0.12 |   0.04 | 1.0e-7 | 3.2e6 |
      | layers.1.output           | different    |    2000 |  6.0e-4 | 2.0e-4 | 1.0e-7 | 1.6e4 |
      | logits                    | different    |      60 |  1.8e-5 | 6.0e-6 | 1.0e-7 |   480 |

      x noise: the largest difference of a position, in units of what rounding does there. RMS and noise:
        of all differences, and of rounding alone. ULP: the largest difference in units in the last place
        of ours. A line of several tensors, their number in brackets, names the one that lies furthest,
        and has its numbers.
      logits: KL divergence 1.3e-3 in the mean, 0.02 at most; the same likeliest token at 66.7 % of
        positions

      embeddings │......│ identical    0
      layers.0   │......│ within noise 0.75
      layers.1   │....%%│ different    4.0e5
      logits     │..--++│ different    60
                  0   2

      A cell is the largest difference of a layer's tensors, in units of the noise, up to: . 1  : 3  - 10
        = 30  + 100  * 1000  # 1e4  % 1e6  @ more, or NaN.

      - Their rows are those of the prompt.
      "
    `);
  });

  it('says in one line what is wrong and where', () => {
    expect(firstLine(comparisonOf(small))).toBe(
      'different: first at layers.1.attention.q_rope (theirs: model.layers.1.self_attn.q_rope), position 2, head 3, index 7: theirs 0.1234567, ours -0.7654321, noise 1.2e-7',
    );
    const suspicious = tensorOf('output', [0.5, 4]);
    expect(firstLine(comparisonOf([suspicious]))).toBe(
      'suspicious: first at output, position 1, index 7: theirs 0.5, ours 0.25, noise 1.0e-7',
    );
  });

  it('says of what passes how near it is', () => {
    expect(firstLine(comparisonOf([tensorOf('embeddings', [0]), tensorOf('logits', [0])]))).toBe(
      'identical: 2 tensors, bit for bit',
    );
    expect(firstLine(comparisonOf(small.slice(0, 3)))).toBe(
      'within noise: 3 tensors, of which layers.0.attention.q is furthest from ours: 0.75 x the noise',
    );
    const tokens = { compared: 64, equal: 64, verdict: 'identical', first: null, ambiguous: 0 } as const;
    expect(firstLine(comparisonOf([], { tokens }))).toBe('identical: 64 of 64 tokens are the same');
    expect(firstLine(comparisonOf([], { unknown: ['x'] }))).toContain('nothing was compared');
  });

  it('names the tensor that cannot be compared, where it is the first', () => {
    const problem = problemOf('layers.0.attention.v', 'expected 3 x 8, got 3 x 7');
    const said = 'layers.0.attention.v cannot be compared: expected 3 x 8, got 3 x 7';
    expect(firstLine(comparisonOf([small[0]!, problem, rope]))).toBe(`different: ${said}`);
    const after = plain(comparisonOf([rope, problem]), { columns: Number.POSITIVE_INFINITY });
    expect(after).toMatch(/^different: first at layers\.1\.attention\.q_rope/);
    expect(lines(after)).toContain(`- ${said}`);
  });

  it('names the axis of a value, and tells apart values that are near', () => {
    const worst = { position: 1, head: null, index: [345], theirs: 1, ours: 1.0000000000000002, noise: 1e-17 };
    expect(firstLine(comparisonOf([tensorOf('logits', [0, 20], { worst })]))).toBe(
      'different: first at logits, position 1, token 345: theirs 1, ours 1.0000000000000002, noise 1.0e-17',
    );
    const scores = { position: 1, head: 2, index: [2, 0], theirs: -0, ours: 0, noise: 0 };
    expect(firstLine(comparisonOf([tensorOf('layers.0.attention.scores', [0, 20], { worst: scores })]))).toContain(
      'position 1, head 2, key 0: theirs -0, ours 0, noise 0',
    );
  });

  it('names what was suspicious before', () => {
    const before = [
      tensorOf('embeddings', [4]),
      tensorOf('layers.0.attention.q', [0.5]),
      tensorOf('layers.0.output', [5]),
    ];
    expect(lines(plain(comparisonOf([...before, rope])))).toEqual(
      expect.arrayContaining([
        'before it: 1 tensor within noise, the last of them layers.0.attention.q',
        'suspicious before it: 2 tensors, the first of them embeddings',
      ]),
    );
  });

  it('says of tokens where they part, and when that means nothing', () => {
    const first = { step: 12, position: 17, theirs: 345, ours: 12, margin: 0.5, noise: 1.3e-6, ambiguous: false };
    const tokens = { compared: 64, equal: 60, verdict: 'different', first, ambiguous: 1 } as const;
    const said =
      '60 of 64 tokens are the same; first at step 12 (position 17): theirs 345, ours 12, margin 0.5, noise 1.3e-6; near ties in all: 1';
    expect(firstLine(comparisonOf([], { tokens }))).toBe(`different: ${said}`);
    expect(lines(plain(comparisonOf(small, { tokens }), { columns: 400 }))).toContain(`tokens: ${said}`);
    const tie = { ...tokens, verdict: 'within noise', first: { ...first, margin: 1e-6, ambiguous: true } } as const;
    expect(firstLine(comparisonOf([], { tokens: tie }))).toBe(
      'within noise: 60 of 64 tokens are the same; first at step 12 (position 17): theirs 345, ours 12, ambiguous, a near tie: our margin 1.0e-6 is no more than the noise 1.3e-6',
    );
  });
});

describe('a bisection', () => {
  const own = (tensors: readonly ReturnType<typeof tensorOf>[], roots = [divergenceOf(rope)]) =>
    lines(plain(comparisonOf(small, { bisection: { tensors, roots } }), { columns: 400 }));

  it('tells root causes from what follows from them', () => {
    const right = [tensorOf('layers.1.output', [0.5]), tensorOf('logits', [0.5])];
    expect(own([rope, ...right])).toEqual(
      expect.arrayContaining([
        'root cause: layers.1.attention.q_rope, as above',
        'everything else follows from it: 2 other tensors, right for their own inputs',
      ]),
    );
    const logits = divergenceOf(small[5]!);
    expect(own([rope, right[0]!, small[5]!], [divergenceOf(rope), logits])).toEqual(
      expect.arrayContaining([
        'root cause: logits, position 2, index 7: theirs 0.5, ours 0.25, noise 1.0e-7'.replace('index', 'token'),
        'everything else follows from them: 1 other tensor, right for its own inputs',
      ]),
    );
  });

  it('claims nothing of tensors that could not be made', () => {
    const said = own([rope, tensorOf('logits', [0.5])]);
    expect(said).toContain('what follows from it: 1 other tensor, right for its own inputs');
    expect(said).toContain('cannot be told: 1 other tensor');
    expect(said.join('\n')).not.toContain('everything else');
    expect(own([rope])).toContain('cannot be told: 2 other tensors');
    const nearly = own([rope, tensorOf('layers.1.output', [4]), tensorOf('logits', [0.5])]);
    expect(nearly).toContain('no root, and yet suspicious for their own inputs: 1 tensor');
    expect(nearly).toContain('what follows from it: 1 other tensor, right for its own inputs');
    expect(own([], [])).toContain('no root cause: of no tensor there is all that it is made of');
  });
});

describe('notes', () => {
  it('name layouts, and names by what they have in common', () => {
    const tensors = passOf(8, 2, null).map((tensor) =>
      tensor.name.endsWith('.q') ? { ...tensor, layout: 'heads first' } : tensor,
    );
    const unknown = [...Array.from({ length: 8 }, (_, l) => `model.layers.${l}.bias`), 'rotary.inv_freq'];
    const missing = Array.from({ length: 9 }, (_, i) => `name_${'abcdefghi'[i]}`);
    expect(lines(plain(comparisonOf(tensors, { unknown, missing }), { columns: 400 })).slice(-3)).toEqual([
      '- recognised as heads first (8): layers.*.attention.q (8)',
      '- names of theirs that are not known (9): model.layers.*.bias (8), rotary.inv_freq',
      '- tensors of ours that they have not (9): name_a, name_b, name_c, name_d, name_e, name_f and 3 more',
    ]);
  });
});

describe('lines', () => {
  const long = 'a_name_of_theirs_that_is_longer_than_a_narrow_terminal_is_wide_and_has_no_spaces'.repeat(2);
  const wide = comparisonOf(
    passOf(12, 300, { tensor: 'layers.10.attention.k_rope', position: 123 }).map((tensor) => ({ ...tensor, theirName: `${long}.${tensor.name}` })), // biome-ignore format: one thought
    { unknown: [long], missing: [`layers.0.${long}`], notes: [long], theirs: `${long}.safetensors` },
  );

  it.each([40, 60, 80, 120, 200])('are no longer than %i characters', (columns) => {
    for (const all of [false, true]) {
      for (const line of lines(plain(wide, { columns, all }))) expect(line.length, line).toBeLessThanOrEqual(columns);
    }
  });

  it('are no longer than any number of characters', () => {
    const comparison = comparisonOf(small.map((tensor) => ({ ...tensor, theirName: `model.${tensor.name}` })));
    for (let columns = 40; columns <= 180; columns++) {
      for (const line of lines(plain(comparison, { columns }))) expect(line.length, line).toBeLessThanOrEqual(columns);
    }
  });

  it('are whole sentences where nothing bounds them', () => {
    const said = lines(plain(wide, { columns: Number.POSITIVE_INFINITY }));
    expect(said[1]).toMatch(/^before it: \d+ tensors within noise, the last of them layers\.10\.attention\.q_rope$/);
    expect(said.filter((line) => line.startsWith('  '))).toHaveLength(1); // the positions below the heatmap
  });

  it('have colours by verdict, and no others than were asked for', () => {
    const text = plain(comparisonOf(small));
    const coloured = plain(comparisonOf(small), { color: true });
    expect(text).not.toContain('\x1b');
    expect(coloured.startsWith('\x1b[31mdifferent\x1b[39m: first at')).toBe(true);
    expect(stripVTControlCharacters(coloured)).toBe(text);
    expect(coloured).toContain('│\x1b[32m....\x1b[39m\x1b[31m%%\x1b[39m│ \x1b[31mdifferent    4.0e5\x1b[39m');
  });

  it('have colours on a terminal alone that has some and is not asked for none', () => {
    const stream = (isTTY: boolean, has: boolean) => ({ isTTY, hasColors: () => has }) as unknown as NodeJS.WriteStream;
    expect([showsColor(stream(true, true)), showsColor(stream(true, false)), showsColor(stream(false, true))]).toEqual([true, false, false]); // biome-ignore format: three cases
  });

  it('let no name of theirs drive the terminal or begin a line', () => {
    const name = 'evil\x1b[2J\r\nidentical: all\u202ex';
    const text = plain(comparisonOf([{ ...rope, theirName: name }], { unknown: [name], notes: [name], theirs: name }), {
      columns: 400,
    });
    expect(rowsOf(text)[0]).toContain('evil'); // there is room for their names
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(lines(text).filter((line) => line.startsWith('identical'))).toEqual([]);
    expect(text).toContain('evil\\x1b[2J\\x0d\\x0aidentical: all\\u202ex');
  });
});
