import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { bloom } from './bloom.js';
import { deepseekV3 } from './deepseek-v3.js';
import { falcon } from './falcon.js';
import type { Family } from './family.js';
import { gptBigcode } from './gpt-bigcode.js';
import { gptNeo } from './gpt-neo.js';
import { gptNeox } from './gpt-neox.js';
import { gptOss } from './gpt-oss.js';
import { gpt2 } from './gpt2.js';
import { gptj } from './gptj.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { mpt } from './mpt.js';
import { opt } from './opt.js';

/** All families, one line each. */
const FAMILIES: readonly Family[] = [
  bloom,
  deepseekV3,
  falcon,
  gpt2,
  gptBigcode,
  gptNeo,
  gptNeox,
  gptOss,
  gptj,
  llama,
  mistral,
  mpt,
  opt,
];

/** The family of a parsed config.json. @throws CheckpointError that lists the supported ones. */
export function familyOf(raw: unknown, file: string): Family {
  const { model_type: modelType } = validate(z.object({ model_type: z.string() }), raw, file);
  const family = FAMILIES.find((candidate) => candidate.modelType === modelType);
  if (family) return family;
  const known = FAMILIES.map((candidate) => candidate.modelType).join(', ');
  throw new CheckpointError(
    `${file}: model_type = ${JSON.stringify(modelType)} is not supported; supported are: ${known}.`,
  );
}
