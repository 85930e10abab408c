import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { bloom } from './bloom.js';
import { cohere } from './cohere.js';
import { cohere2 } from './cohere2.js';
import { deepseekV2 } from './deepseek-v2.js';
import { deepseekV3 } from './deepseek-v3.js';
import { exaone4 } from './exaone4.js';
import { falcon } from './falcon.js';
import type { Family } from './family.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { gemma3Text } from './gemma3-text.js';
import { glm } from './glm.js';
import { glm4 } from './glm4.js';
import { glm4Moe } from './glm4-moe.js';
import { gptBigcode } from './gpt-bigcode.js';
import { gptNeo } from './gpt-neo.js';
import { gptNeox } from './gpt-neox.js';
import { gptOss } from './gpt-oss.js';
import { gpt2 } from './gpt2.js';
import { gptj } from './gptj.js';
import { granite } from './granite.js';
import { granitemoe } from './granitemoe.js';
import { llama } from './llama.js';
import { llama4Text } from './llama4-text.js';
import { minicpm3 } from './minicpm3.js';
import { mistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { mpt } from './mpt.js';
import { nemotron } from './nemotron.js';
import { olmo } from './olmo.js';
import { olmo2 } from './olmo2.js';
import { olmo3 } from './olmo3.js';
import { olmoe } from './olmoe.js';
import { opt } from './opt.js';
import { persimmon } from './persimmon.js';
import { phi } from './phi.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen2Moe } from './qwen2-moe.js';
import { qwen3 } from './qwen3.js';
import { qwen3Moe } from './qwen3-moe.js';
import { smollm3 } from './smollm3.js';
import { stablelm } from './stablelm.js';
import { starcoder2 } from './starcoder2.js';

/** All families, one line each. */
const FAMILIES: readonly Family[] = [
  bloom,
  cohere,
  cohere2,
  deepseekV2,
  deepseekV3,
  exaone4,
  falcon,
  gemma,
  gemma2,
  gemma3Text,
  glm,
  glm4,
  glm4Moe,
  gpt2,
  gptBigcode,
  gptNeo,
  gptNeox,
  gptOss,
  gptj,
  granite,
  granitemoe,
  llama,
  llama4Text,
  minicpm3,
  mistral,
  mixtral,
  mpt,
  nemotron,
  olmo,
  olmo2,
  olmo3,
  olmoe,
  opt,
  persimmon,
  phi,
  phi3,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  smollm3,
  stablelm,
  starcoder2,
];

const typed = z.object({ model_type: z.string() });

/** The family of a parsed config.json. @throws CheckpointError that lists the supported ones. */
export function familyOf(raw: unknown, file: string): Family {
  const { model_type: modelType } = validate(typed, raw, file);
  const family = known(modelType);
  if (family) return family;
  const what = `${file}: model_type = ${JSON.stringify(modelType)}`;
  const inner = z.object({ text_config: typed }).safeParse(raw).data?.text_config.model_type;
  if (inner && known(inner)) {
    throw new CheckpointError(
      `${what} joins a text model with others; touchstone reads the text model (${inner}) alone: save it by itself ` +
        '(AutoModelForCausalLM.from_pretrained(...).save_pretrained(...) of transformers).',
    );
  }
  const names = FAMILIES.map((candidate) => candidate.modelType).join(', ');
  throw new CheckpointError(`${what} is not supported; supported are: ${names}.`);
}

function known(modelType: string): Family | undefined {
  return FAMILIES.find((candidate) => candidate.modelType === modelType);
}
