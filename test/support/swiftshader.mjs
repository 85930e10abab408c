/**
 * Gets SwiftShader, a Vulkan driver in software, from npm alone: WebGPU can be tested where there is no GPU.
 *
 *     eval "$(node test/support/swiftshader.mjs DIR)"
 *
 * It prints lines for a shell, because libvulkan.so.1 is found only where LD_LIBRARY_PATH was set before the process
 * started. The package is a whole Chromium for another purpose; two libraries of it are kept. Node's own modules alone
 * are used, so that this runs before `npm ci`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const PACKAGE = '@sparticuz/chromium@153.0.0';
const ARCHIVE = 'package/bin/swiftshader.tar.br';
const SHA256 = 'b680e40a33235ecc6ad4c6897a168b70ce5164f0d62d2a64d675320d51614631';
const LIBRARIES = ['libvk_swiftshader.so', 'libvulkan.so.1'];
const ICD = 'vk_swiftshader_icd.json';

/** The archive's bytes, checked. */
function download() {
  const folder = mkdtempSync(join(tmpdir(), 'swiftshader-'));
  try {
    const name = run('npm', ['pack', '--loglevel=error', PACKAGE], { cwd: folder }).toString().trim();
    run('tar', ['-xzf', name, ARCHIVE], { cwd: folder });
    const bytes = readFileSync(join(folder, ARCHIVE));
    const digest = createHash('sha256').update(bytes).digest('hex');
    if (digest !== SHA256) throw new Error(`${ARCHIVE} of ${PACKAGE} has the sha256 ${digest}, not ${SHA256}`);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the command says of its own failure goes to stderr, before the one sentence. */
function run(command, args, options) {
  try {
    return execFileSync(command, args, { stdio: ['pipe', 'pipe', 'inherit'], maxBuffer: 2 ** 26, ...options });
  } catch (error) {
    throw new Error(`"${command} ${args.join(' ')}" failed (${error.code ?? `exit ${error.status}`})`);
  }
}

/** The file that names the driver is written last: where it is, the rest is too. */
function install(directory) {
  const input = brotliDecompressSync(download());
  mkdirSync(directory, { recursive: true });
  run('tar', ['-x', '--no-same-owner', '-C', directory, ...LIBRARIES], { input });
  const icd = JSON.parse(run('tar', ['-xO', ICD], { input }).toString());
  icd.ICD.library_path = resolve(directory, icd.ICD.library_path);
  writeFileSync(join(directory, ICD), `${JSON.stringify(icd)}\n`);
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function main(args) {
  if (args.length !== 1) throw new Error('give one folder: node test/support/swiftshader.mjs DIR');
  const here = `${process.platform}-${process.arch}`;
  if (here !== 'linux-x64') throw new Error(`the npm package has a driver for linux-x64 alone, and this is ${here}`);
  const directory = resolve(args[0]);
  if (directory.includes(':')) throw new Error(`${directory} has a colon, which separates folders in LD_LIBRARY_PATH`);
  if (!existsSync(join(directory, ICD))) install(directory);
  console.log(`export VK_ICD_FILENAMES=${quote(join(directory, ICD))}`);
  console.log(`export LD_LIBRARY_PATH=${quote(directory)}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(`swiftshader: ${error.message}`);
  process.exitCode = 1;
}
