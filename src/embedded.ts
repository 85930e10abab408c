import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file or folder that comes with the package. */
export function packagedFile(...path: readonly string[]): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, ...path);
}

/** The folder of the checkpoint that comes with the package. */
export function embeddedModel(): string {
  return packagedFile('fixtures', 'austen-llama');
}
