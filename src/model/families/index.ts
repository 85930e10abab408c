import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { deepseekV3 } from './deepseek-v3.js';
import type { Family } from './family.js';
import { gptOss } from './gpt-oss.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';

/** All families, one line each. */
const FAMILIES: readonly Family[] = [llama, mistral, deepseekV3, gptOss];

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
