import { describe, expect, it } from 'vitest';
import type { KvDtype } from '../../../attention/cache/codec/format.js';
import { UsageError } from '../../../src/errors.js';
import { loadModel } from '../../../src/model/load.js';
import { candidatesFor, MUTANT_GROUPS, MUTANTS, mutantNamed, sameAs } from '../../../src/reference/mutants/index.js';
import { inNamedForm } from '../../../src/reference/trace/index.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, goldenOptions } from '../../support/fixtures.js';

const NAMES = MUTANTS.map(({ name }) => name);

/** The mistakes that were asked for, in the words in which they were. */
const ASKED: readonly (readonly [string, ...string[]])[] = [
  ['rope interleaved for half-split', 'rope-interleaved', 'rope-half-split'],
  ['wrong theta', 'rope-theta'],
  ['off-by-one position', 'position-off-by-one', 'position-off-by-one-later'],
  ['position reset on each chunk', 'position-reset'],
  ['rope on the wrong dims', 'rope-wrong-dims', 'rope-whole-head'],
  ['missing mscale', 'rope-magnitude-missing', 'scale-default'],
  ['causal mask aligned top-left', 'mask-top-left'],
  ['window W-1', 'window-short'],
  ['W+1, inclusive for exclusive', 'window-long'],
  ['heads tiled for repeated', 'heads-tiled'],
  ['scale missing, doubled, by D instead of K', 'scale-missing', 'scale-twice', 'scale-by-width'],
  ['softcap missing', 'score-softcap-missing', 'logit-softcap-missing'],
  ['softcap after the mask', 'score-softcap-after-mask'],
  ['softmax in half precision', 'softmax-in-half'],
  ['sinks missing', 'sinks-missing'],
  ['norm weight without 1+', 'norm-without-one'],
  ['eps 1e-5 for 1e-6', 'norm-eps'],
  ['norm in half', 'norm-in-half'],
  ['qk norm over the wrong axis or missing', 'qk-norm-axis', 'qk-norm-missing'],
  ['pre for post norm', 'pre-for-post-norm', 'post-for-pre-norm'],
  ['gelu tanh for erf', 'gelu-kind'],
  ['gate and up swapped', 'gate-up-swapped'],
  ['untied or transposed head', 'head-tied', 'head-transposed'],
  ['double BOS', 'bos-twice'],
  ['left-padding positions', 'padding-counted', 'padding-seen'],
  ['router softmax before/after top-k', 'router-softmax-before', 'router-softmax-after'],
  ['no renormalisation', 'router-not-normalised'],
  ['missing shared expert or routed scaling', 'shared-expert-missing', 'router-scale-missing'],
  ['MLA scale by nope dim only', 'latent-scale-nope'],
  ['latent norm missing', 'latent-norm-missing'],
  ['KV cache stale by one', 'cache-stale'],
  ['page off by one', 'page-off-by-one'],
  ['block table row swapped', 'block-table-swapped'],
  ['prefix reused across different positions', 'prefix-elsewhere'],
  ['quantisation scale per wrong axis', 'kv-scale-axis'],
  ['int4 nibbles swapped', 'kv-nibbles-swapped'],
  ['fp8 without saturation', 'kv-fp8-unsaturated'],
  ['bf16 accumulate', 'bfloat16-accumulate'],
];

/** Names that a sentence may begin with although they are words with a capital. */
const PROPER = /^(Cohere|Gemma|Granite|Llama|Mixtral)\b/;

describe('the list of mutants', () => {
  it('is long, and names each once, in kebab-case', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(60);
    expect(new Set(NAMES).size).toBe(NAMES.length);
    expect(NAMES.filter((name) => !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))).toEqual([]);
  });

  it('uses every group, and has the mutants of each together, in their order', () => {
    const inOrder = MUTANTS.map(({ group }) => group).filter((group, i, all) => group !== all[i - 1]);
    expect(inOrder).toEqual(MUTANT_GROUPS);
  });

  it.each(ASKED)('has: %s', (_, ...names) => {
    expect(names.filter((name) => !NAMES.includes(name))).toEqual([]);
  });

  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    'says of %s what is wrong, what is seen and what to do',
    (_, { mistake, symptom, fix }) => {
      for (const sentence of [mistake, symptom, fix]) {
        expect(sentence.length).toBeGreaterThan(8);
        expect(sentence).toBe(sentence.trim());
        expect(sentence).not.toMatch(/[.!?\s]$|\n| {2}/); // the report adds the full stop
        if (!PROPER.test(sentence)) expect(sentence).not.toMatch(/^[A-Z][a-z]+\b/); // code and names such as GPT-2 may
      }
      expect(new Set([mistake, symptom, fix]).size).toBe(3);
    },
  );

  it('calls only others the same, which there are, and in both directions', () => {
    for (const mutant of MUTANTS) {
      for (const [other, why] of Object.entries(mutant.sameAs ?? {})) {
        expect(NAMES, mutant.name).toContain(other);
        expect(other).not.toBe(mutant.name);
        expect(why).not.toMatch(/^$|\.$/);
        expect(sameAs(mutant, mutantNamed(other))).toBe(why);
        expect(sameAs(mutantNamed(other), mutant)).not.toBeNull();
      }
    }
    expect(sameAs(mutantNamed('rope-theta'), mutantNamed('scale-missing'))).toBeNull();
  });

  it('finds a mutant by its name, and the nearest where there is none', () => {
    for (const mutant of MUTANTS) expect(mutantNamed(mutant.name)).toBe(mutant);
    expect(() => mutantNamed('rope-intreleaved')).toThrow(UsageError);
    expect(() => mutantNamed('rope-intreleaved')).toThrow(
      'There is no mutant rope-intreleaved; did you mean rope-interleaved? (touchstone mutants lists them)',
    );
  });
});

describe('candidates', () => {
  const load = (name: string, kvDtype?: KvDtype) =>
    inNamedForm(loadModel(fixture(name), { ...goldenOptions(name), ...(kvDtype && { kvDtype }) }), { capture: 'all' });

  const ALL = [
    ...[...CHECKPOINTS, ...FAMILY_CHECKPOINTS].map((name) => load(name)),
    ...(['int8', 'int4', 'fp8_e4m3'] as const).map((dtype) => load('tiny-llama-rope3-f16', dtype)),
  ].map((model) => candidatesFor(model));

  it('are there for every mutant, in some fixture', () => {
    const found = new Set(ALL.flat().map(({ mutant }) => mutant.name));
    expect(NAMES.filter((name) => !found.has(name))).toEqual([]);
  });

  it('have names of their own in each model', () => {
    for (const own of ALL) expect(new Set(own.map(({ name }) => name)).size).toBe(own.length);
  });

  it('are not for every model: each of many mutants needs what some models lack', () => {
    const some = NAMES.filter((name) => ALL.some((own) => own.every(({ mutant }) => mutant.name !== name)));
    expect(some.length).toBeGreaterThan(80);
    const plain = load('tiny-llama-rope3-f16');
    const of = (model: typeof plain) => candidatesFor(model).map(({ name }) => name);
    expect(of(plain)).not.toContain('sinks-missing');
    expect(of(load('families/gpt-oss-mxfp4'))).toContain('sinks-missing');
    expect(of(plain).filter((name) => name.startsWith('rope-theta'))).toEqual([]); // its rope is scaled
    expect(of(load('tiny-mistral-f16')).filter((name) => name.startsWith('rope-theta'))).toHaveLength(5);
  });
});
