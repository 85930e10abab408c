import { describe, expect, it } from 'vitest';
import { comparisonGithub, comparisonMarkdown } from '../../cli/compare-github.js';
import { comparisonJson } from '../../cli/compare-json.js';
import { comparisonOf, divergenceOf, measuresOf, passOf, problemOf, tensorOf } from '../support/comparison.js';

/** As GitHub's runner reads them: a line that begins with `::`, properties up to the next `::`, then the message. */
function annotationsOf(text: string) {
  const unescaped = (of: string) =>
    of.replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%0D/g, '\r').replace(/%0A/g, '\n').replace(/%25/g, '%');
  return text.trimEnd().split('\n').map((line) => {
    const [, level, properties, message] = /^::(error|warning|notice) ([^:]*)::(.*)$/.exec(line)!;
    const pairs = properties!.split(',').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);
    return { level, title: unescaped(Object.fromEntries(pairs).title!), message: unescaped(message!) };
  }); // biome-ignore format: a list
}

const wrong = passOf(4, 9, { tensor: 'layers.2.attention.q_rope', position: 5 });
const root = divergenceOf(wrong.find(({ verdict }) => verdict === 'different')!);

describe('annotations of GitHub', () => {
  it('are one notice where all is well, and one warning where something is suspicious', () => {
    expect(comparisonGithub(comparisonOf([tensorOf('logits', [0.5])]))).toBe(
      '::notice title=touchstone compare::within noise: 1 tensor, of which logits is furthest from ours: 0.5 x the noise\n',
    );
    expect(comparisonGithub(comparisonOf([tensorOf('logits', [0.5, 4])]))).toBe(
      '::warning title=First at logits%3A suspicious::first at logits, position 1, token 7: theirs 0.5, ours 0.25, noise 1.0e-7%0Apositions: it differs at 1 of 2: 1\n',
    );
  });

  it('begin with the first divergence, and are ten at most', () => {
    const found = annotationsOf(comparisonGithub(comparisonOf(wrong)));
    expect(found).toHaveLength(10);
    expect(found.map(({ level }) => level)).toEqual(Array(10).fill('error'));
    expect(found[0]!.title).toBe('First at layers.2.attention.q_rope: different');
    expect(found[0]!.message).toMatch(/^first at layers\.2\.attention\.q_rope, position 5, /);
    expect(found[1]).toEqual({
      level: 'error',
      title: 'layers.2.attention.k_rope: different',
      message: '4.0e5 x the noise: largest difference 0.12, RMS 0.04 where rounding alone does 1.0e-7',
    });
    const different = wrong.filter(({ verdict }) => verdict === 'different').length;
    expect(found[9]!.message).toBe(`${different - 9} more findings`);
  });

  it('are ten, and none says that there are more, where there are ten', () => {
    const ten = Array.from({ length: 10 }, (_, l) => tensorOf(`layers.${l}.output`, [20]));
    expect(annotationsOf(comparisonGithub(comparisonOf(ten))).at(-1)!.title).toBe('layers.9.output: different');
  });

  it('name root causes and tokens, and nothing that follows from them', () => {
    const other = divergenceOf(wrong.at(-1)!);
    const made = [...passOf(4, 9, null).slice(0, -1), wrong.at(-1)!];
    const first = { step: 2, position: 7, theirs: 1, ours: 2, margin: 0.5, noise: 1e-6, ambiguous: false };
    const tokens = { compared: 4, equal: 2, verdict: 'different', first, ambiguous: 0 } as const;
    const found = annotationsOf(
      comparisonGithub(comparisonOf(wrong, { tokens, bisection: { tensors: made, roots: [root, other] } })),
    );
    expect(found.map(({ title }) => title)).toEqual([
      'First at layers.2.attention.q_rope: different',
      'Root cause: logits',
      'Tokens differ',
    ]);
    expect(found[0]!.message).toContain('\nroot cause: layers.2.attention.q_rope, as above\n');
  });

  it('warn of what is suspicious after all errors, and say what cannot be compared', () => {
    const tensors = [tensorOf('a', [20]), tensorOf('b', [4]), problemOf('c', 'expected 3 x 8, got 3 x 7')];
    expect(
      annotationsOf(comparisonGithub(comparisonOf(tensors))).map(({ level, message }) => [level, message]),
    ).toEqual([
      ['error', expect.stringMatching(/^first at a,/)],
      ['error', 'c cannot be compared: expected 3 x 8, got 3 x 7'],
      ['warning', expect.stringMatching(/^4 x the noise/)],
    ]);
  });

  it('let no name of theirs end a line or a property', () => {
    const name = 'a,b:c%0A\n::error title=x::y\r100 %';
    const tensor = tensorOf(name, [20]);
    const text = comparisonGithub(comparisonOf([tensor]));
    expect(text.match(/\n/g)).toHaveLength(1);
    expect(text).toContain('title=First at a%2Cb%3Ac%250A\\x0a%3A%3Aerror');
    const [found] = annotationsOf(text);
    expect(found!.title).toBe('First at a,b:c%0A\\x0a::error title=x::y\\x0d100 %: different');
    expect(found!.message).toContain('first at a,b:c%0A\\x0a::error title=x::y\\x0d100 %, position 0');
  });
});

describe('the summary of a job', () => {
  it('has the verdict, a short table and what is known', () => {
    const text = comparisonMarkdown(comparisonOf(wrong, { bisection: { tensors: passOf(4, 9, null), roots: [root] } }));
    expect(text).toMatch(/^### touchstone compare: different\n\nfirst at layers\.2\.attention\.q\\_rope, position 5, /);
    expect(text.split('\n').filter((line) => line.startsWith('| layers.'))).toHaveLength(10);
    const different = wrong.filter(({ verdict }) => verdict === 'different').length;
    expect(text).toContain(
      `\n${different - 10} more tensors that need a look, ${wrong.length - different} tensors within noise.\n`,
    );
    expect(text).toContain('- everything else follows from it: 23 other tensors, right for their own inputs\n');
  });

  it('is short where all is well', () => {
    expect(comparisonMarkdown(comparisonOf([tensorOf('logits', [0])]))).toBe(
      '### touchstone compare: identical\n\n1 tensor, bit for bit\n\n- compared: dump.safetensors, in float32, with austen-llama, in float32\n',
    );
  });

  it('shows names of theirs as they are', () => {
    const name = '<script>|[x](y)`*z*\n# w';
    const text = comparisonMarkdown(comparisonOf([tensorOf(name, [20])], { notes: [name] }));
    const shown = '&lt;script&gt;\\|\\[x\\](y)\\`\\*z\\*\\\\x0a\\# w';
    expect(text).toContain(`first at ${shown}, position 0`);
    expect(text).toContain(`| ${shown} | different |`);
    expect(text).toContain(`- ${shown}\n`);
  });
});

describe('JSON', () => {
  it('is one line with the names of the types', () => {
    const comparison = comparisonOf(wrong, { unknown: ['x'], notes: ['y'] });
    const text = comparisonJson(comparison);
    expect(text).toMatch(/^[^\n]*\n$/);
    expect(JSON.parse(text)).toEqual(comparison);
  });

  it('writes numbers that it has not as their names', () => {
    const measures = measuresOf(1, {
      ratio: Number.NaN,
      maxAbs: Number.POSITIVE_INFINITY,
      cosine: Number.NEGATIVE_INFINITY,
    });
    const read = JSON.parse(comparisonJson(comparisonOf([tensorOf('logits', [1], { measures })])));
    expect(read.tensors[0].measures).toMatchObject({ ratio: 'NaN', maxAbs: 'Infinity', cosine: '-Infinity' });
    expect(Number(read.tensors[0].measures.maxAbs)).toBe(Number.POSITIVE_INFINITY);
  });
});
