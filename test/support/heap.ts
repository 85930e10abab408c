import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
export const collect = runInNewContext('gc') as () => void;

/** Bytes that live once garbage is gone, on the heap and in arrays outside it (which V8 frees a little later than it collects them). */
export async function living(): Promise<number> {
  collect();
  await setTimeout(50);
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
