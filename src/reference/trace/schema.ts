/** The JSON Schema of a trace's metadata: `fixtures/trace.schema.json`, and `schema.json` of a kit. */
import { z } from 'zod';
import { traceMetadata } from './format.js';

/** Further keys are allowed: other programs have things to say too. */
export function traceSchemaText(): string {
  return `${JSON.stringify(z.toJSONSchema(traceMetadata, { io: 'input' }), null, 2)}\n`;
}
