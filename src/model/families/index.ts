import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { cohere } from './cohere.js';
import { cohere2 } from './cohere2.js';
import { deepseekV3 } from './deepseek-v3.js';
import type { Family } from './family.js';
import { glm } from './glm.js';
import { glm4 } from './glm4.js';
import { gptOss } from './gpt-oss.js';
import { granite } from './granite.js';
import { llama } from './llama.js';
import { minicpm3 } from './minicpm3.js';
import { mistral } from './mistral.js';
import { nemotron } from './nemotron.js';
import { phi } from './phi.js';
import { phi3 } from './phi3.js';
import { stablelm } from './stablelm.js';
import { starcoder2 } from './starcoder2.js';

/** All families, one line each. */
const FAMILIES: readonly Family[] = [
  cohere,
  cohere2,
  deepseekV3,
  glm,
  glm4,
  gptOss,
  granite,
  llama,
  minicpm3,
  mistral,
  nemotron,
  phi,
  phi3,
  stablelm,
  starcoder2,
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
