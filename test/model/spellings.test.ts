/** Both spellings of config.json: what transformers 5 writes, and what nearly every file on the hub has. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { familyOf } from '../../src/model/families/index.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

const read = (name: string) => JSON.parse(readFileSync(fixture(`${name}/config.json`), 'utf8')) as Json;
const configured = (raw: Json) =>
  familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });

/** `rope_parameters` taken apart; null where there are none, or one for each type of layer (families' own tests have those). */
function older({ rope_parameters, dtype, transformers_version, ...rest }: Json): Json | null {
  if (!rope_parameters || !('rope_type' in (rope_parameters as Json))) return null;
  const { rope_type: type, rope_theta, partial_rotary_factor, ...members } = rope_parameters as Json;
  const part = partial_rotary_factor === undefined ? {} : { partial_rotary_factor };
  return {
    ...rest,
    ...part,
    torch_dtype: dtype,
    rope_theta,
    rope_scaling: type === 'default' ? null : { type, ...members },
  };
}

const NAMES = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS].filter(
  (name) => older(read(name)) && configured(read(name)).layers.some(({ attention }) => attention.rope),
);

it('most fixtures have a rope that can be spelt both ways', () => {
  expect(NAMES.length).toBeGreaterThan(FAMILY_CHECKPOINTS.length / 2);
});

it.each(NAMES)('%s means the same in the older spelling', (name) => {
  const old = older(read(name))!;
  expect(configured(old)).toEqual(configured(read(name)));
  expect(configured({ ...old, torch_dtype: undefined, rope_theta: 777 })).not.toEqual(configured(read(name)));
});
