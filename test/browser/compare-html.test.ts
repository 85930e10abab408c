/** The HTML report in a browser: what its script does, and what the page may not do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { comparisonHtml } from '../../cli/compare-html.js';
import { launch, missingBrowser } from '../support/browser.js';
import { comparisonOf, measuresOf, tensorOf } from '../support/comparison.js';
import { describeWith } from '../support/parts.js';

const MOST_MS = 60_000;
const evil = '<script>document.title = "taken"</script><img src="x" onerror="document.title = \'taken\'">';
const html = comparisonHtml(
  comparisonOf(
    [
      tensorOf('embeddings', [0.5]),
      tensorOf('layers.2.output', [60], { theirName: evil }),
      tensorOf('layers.10.output', [4]),
      tensorOf('logits', [0.25], { verdict: 'different', measures: measuresOf(Number.NaN) }),
    ],
    { notes: [evil], unknown: [evil] },
  ),
);

describeWith(missingBrowser(), 'the HTML report in a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'touchstone-report-'));
  let browser: Browser;
  beforeAll(async () => {
    writeFileSync(join(folder, 'report.html'), html);
    browser = await launch();
  }, MOST_MS);
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  }, MOST_MS);

  /** With all that it asked for, and all that went wrong. */
  async function opened(javaScriptEnabled = true): Promise<{ page: Page; asked: string[]; errors: string[] }> {
    const page = await (await browser.newContext({ javaScriptEnabled })).newPage();
    const [asked, errors] = [[], []] as [string[], string[]];
    page.on('request', (request) => asked.push(request.url()));
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => errors.push(message.text()));
    await page.goto(pathToFileURL(join(folder, 'report.html')).href);
    return { page, asked, errors };
  }
  const namesOn = (page: Page) => page.locator('tbody tr td:first-child').allTextContents();

  it('asks for nothing, and runs nothing that a name brings', async () => {
    const { page, asked, errors } = await opened();
    expect([asked.length, errors]).toEqual([1, []]); // the page itself
    expect(await page.title()).toBe('touchstone: dump.safetensors is different');
    expect(await page.getByText(evil).count()).toBeGreaterThanOrEqual(3);
  }, MOST_MS); // biome-ignore format: one test

  it('sorts by the column whose head is pressed, NaN beside Infinity, and back', async () => {
    const { page } = await opened();
    const order = ['embeddings', 'layers.2.output', 'layers.10.output', 'logits'];
    const press = async (name: string) => {
      await page.getByRole('button', { name }).click();
      return namesOn(page);
    };
    expect(await namesOn(page)).toEqual(order);
    expect(await press('x noise')).toEqual(['logits', 'layers.2.output', 'layers.10.output', 'embeddings']);
    expect(await press('x noise')).toEqual(['embeddings', 'layers.10.output', 'layers.2.output', 'logits']);
    expect(await press('x noise')).toEqual(order);
    expect(await press('tensor')).toEqual(order);
    expect(await press('tensor')).toEqual([...order].reverse());
  }, MOST_MS); // biome-ignore format: one test

  it('is readable without its script, and hides what is within noise on request', async () => {
    const { page } = await opened(false);
    await expect(page.getByText('first at layers.2.output (theirs:').isVisible()).resolves.toBe(true);
    const shown = () => page.locator('tbody tr:visible td:first-child').allTextContents();
    expect(await shown()).toHaveLength(4);
    await page.getByLabel('only those that are not within noise').check();
    expect(await shown()).toEqual(['layers.2.output', 'layers.10.output', 'logits']);
  }, MOST_MS); // biome-ignore format: one test
});
