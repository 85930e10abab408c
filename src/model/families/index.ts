import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { deepseekV3 } from './deepseek-v3.js';
import { exaone4 } from './exaone4.js';
import type { Family } from './family.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { gemma3Text } from './gemma3-text.js';
import { gptOss } from './gpt-oss.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { olmo } from './olmo.js';
import { olmo2 } from './olmo2.js';
import { olmo3 } from './olmo3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { smollm3 } from './smollm3.js';

/** All families, one line each. */
const FAMILIES: readonly Family[] = [
  deepseekV3,
  exaone4,
  gemma,
  gemma2,
  gemma3Text,
  gptOss,
  llama,
  mistral,
  olmo,
  olmo2,
  olmo3,
  qwen2,
  qwen3,
  smollm3,
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
