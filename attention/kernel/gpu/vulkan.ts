/**
 * On Linux, Dawn (the package `webgpu`) takes a GPU through Vulkan, and where there is none it writes warnings straight to standard error. So
 * what it would find is found out without them. Where that is in doubt, nothing is refused: Dawn is tried.
 */
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { DeviceError } from '../../../src/errors.js';

const LOADER = 'libvulkan.so.1';

const DRIVER = "the GPU's Vulkan driver (mesa-vulkan-drivers, or its maker's)";

/** Dawn uses Vulkan here. (The variable is Dawn's own, and chooses another backend.) */
function usesVulkan(): boolean {
  return process.platform === 'linux' && /^(vulkan)?$/i.test(process.env.DAWNNODE_BACKEND ?? '');
}

/** Asks the system's linker, as Dawn does, so that no folder need be guessed. @throws DeviceError if there is no loader, without which no driver is found */
export function expectVulkanLoader(): void {
  if (!usesVulkan()) return;
  try {
    process.dlopen({ exports: {} }, LOADER);
  } catch (error) {
    const { message } = error as Error; // in any case: what was loaded is no addon of Node's, and was closed again
    if (!/cannot open shared object file|No such file/.test(message)) return;
    throw new DeviceError(
      `Device webgpu: there is no Vulkan loader (${message}); install libvulkan1 and ${DRIVER}, or choose --device wasm.`,
    );
  }
}

const QUESTION = `
  const adapter = await (await import(process.argv[1])).create([]).requestAdapter();
  process.stdout.write(adapter ? 'an adapter' : 'none');
`;

const MOST_MS = 30_000;

/**
 * Lets another process ask Dawn for an adapter: its warnings become the reason, and a driver that ends the process ends that one.
 * @throws DeviceError if there is none
 */
export async function expectAdapter(): Promise<void> {
  if (!usesVulkan()) return;
  const { answer, warnings, signal } = await askDawn();
  if (answer === 'none') {
    throw new DeviceError(
      `Device webgpu: Vulkan offers no GPU (${reasonIn(warnings)}); install ${DRIVER}, or choose --device wasm.`,
    );
  }
  if (answer === '' && signal) {
    throw new DeviceError(
      `Device webgpu: the GPU's driver fails (${signal}); install ${DRIVER}, or choose --device wasm.`,
    );
  }
}

interface Answer {
  readonly answer: string;
  readonly warnings: string;
  /** What ended the process; null: it ended by itself. */
  readonly signal: string | null;
}

function askDawn(): Promise<Answer> {
  const args = ['--input-type=module', '--eval', QUESTION, createRequire(import.meta.url).resolve('webgpu')];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: MOST_MS }, (error, answer, warnings) => {
      resolve({ answer, warnings, signal: error?.signal ?? null });
    });
  });
}

/** The first of the warnings. */
function reasonIn(warnings: string): string {
  const [, reason] = /^(?:Warning|Error): (.*?)\.?$/m.exec(warnings) ?? [];
  return reason?.replace(/\s+/g, ' ') ?? 'it does not say why';
}
