/** A browser for tests: one that this machine has, headless, with a page in it that is bundled from a TypeScript file. */
import { accessSync, constants } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, delimiter, join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';

/** Headless Chromium offers WebGPU in software (SwiftShader, its own) only when told to. A proxy would not know the page's name. */
const FLAGS = ['--enable-unsafe-webgpu', '--no-proxy-server'];

/** A page that is served under this name is no secure context, which `localhost` is. */
export const INSECURE_HOST = 'plain.test';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

const MOST_MS = 30_000;

/** @returns the file to run; null: there is none @throws Error if TOUCHSTONE_CHROMIUM names none */
export function findBrowser({ TOUCHSTONE_CHROMIUM: given, PATH: path = '' }: NodeJS.ProcessEnv): string | null {
  if (given) {
    if (isExecutable(given)) return given;
    throw new Error(`TOUCHSTONE_CHROMIUM is "${given}", which is no file that can be run`);
  }
  const folders = path.split(delimiter).filter((folder) => folder !== '');
  const files = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  return files.find(isExecutable) ?? null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why there is no browser here, or null. */
export function missingBrowser(): string | null {
  if (findBrowser(process.env) !== null) return null;
  return `there is no Chromium: none of ${NAMES.join(', ')} is in a folder of PATH; install one, or name it in TOUCHSTONE_CHROMIUM`;
}

/** Why no page can use WebGPU here, or null. (Some systems have a `chromium-browser` that only says how to get one.) */
export async function missingBrowserWebGpu(): Promise<string | null> {
  const missing = missingBrowser();
  if (missing !== null) return missing;
  const file = findBrowser(process.env);
  try {
    return (await offersWebGpu()) ? null : `${file} offers no WebGPU, not even in software`;
  } catch (error) {
    return `${file} does not work (${(error as Error).message.split('\n')[0]})`;
  }
}

async function offersWebGpu(): Promise<boolean> {
  const opened = await openPages('');
  try {
    const page = await opened.pageOn('localhost');
    const question = "(async () => ((await navigator.gpu?.requestAdapter()) ? 'one' : 'none'))()";
    const answer = await page.waitForFunction(question, null, { timeout: MOST_MS }); // unlike `evaluate`, not for ever
    return (await answer.jsonValue()) === 'one';
  } finally {
    await opened.close();
  }
}

export interface Opened {
  /** A page that has run the script. @throws the first error that the script has thrown */
  pageOn(host: string): Promise<Page>;
  close(): Promise<void>;
}

/** @param entry the page's script; '': it has none @throws Error if there is no browser, or it does not start */
export async function openPages(entry: string): Promise<Opened> {
  const server = await serve(entry === '' ? new Map() : await bundle(entry));
  try {
    const browser = await launch();
    return {
      pageOn: (host) => openPage(browser, `http://${host}:${(server.address() as AddressInfo).port}/`),
      close: async () => {
        await browser.close();
        await end(server);
      },
    };
  } catch (error) {
    await end(server);
    throw error;
  }
}

/** Its profile is a new folder, which goes with it. Root, as in a container, has no use of Chromium's sandbox, and the page is our own. */
export function launch(): Promise<Browser> {
  const args = [...FLAGS, `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1, MAP localhost 127.0.0.1`];
  return chromium.launch({ executablePath: findBrowser(process.env)!, args, chromiumSandbox: false, timeout: MOST_MS });
}

async function openPage(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  const errors: Error[] = [];
  page.on('pageerror', (error) => errors.push(error));
  await page.goto(url, { timeout: MOST_MS }); // until its script has run
  if (errors.length > 0) throw errors[0];
  return page;
}

/** The files of a bundle. What is imported when it is needed stays in files of its own: a browser never asks for those that only Node can run. */
async function bundle(entry: string): Promise<ReadonlyMap<string, string>> {
  const { outputFiles } = await build({
    entryPoints: { page: entry },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external: ['webgpu', 'node:*'],
    write: false,
    outdir: 'bundle',
  });
  return new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]));
}

const HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">';

async function serve(scripts: ReadonlyMap<string, string>): Promise<Server> {
  const html = scripts.size === 0 ? HTML : `${HTML}<script type="module" src="/page.js"></script>`;
  const server = createServer(({ url }, response) => {
    const script = scripts.get(url!);
    if (script !== undefined) response.setHeader('content-type', 'text/javascript').end(script);
    else if (url === '/') response.setHeader('content-type', 'text/html').end(html);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return server;
}

function end(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
