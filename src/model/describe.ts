import { createHash } from 'node:crypto';
import type { Model } from './load.js';

/** All that decides a run's bits beside the checkpoint, for files that record it: what was chosen, and the hash of static scales. */
export function describeRun({ config: { ropeLength }, components: { chosen, format } }: Model): Record<string, string> {
  const run = ropeLength === null ? chosen : { ...chosen, ropeLength: String(ropeLength) };
  if (format.kind !== 'fp8' || !format.amax) return run;
  return { ...run, kvScales: createHash('sha256').update(JSON.stringify(format.amax)).digest('hex') };
}
