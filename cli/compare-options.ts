/** What `compare` and `splice` share: options, loading, and how a comparison is told. */
import { statSync, writeFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../src/errors.js';
import { writeAtomically } from '../src/files.js';
import type { Comparison } from '../src/reference/compare/comparison.js';
import { UNIT_ROUNDOFF } from '../src/reference/compare/floor.js';
import type { CompareOptions } from '../src/reference/compare/index.js';
import type { Dump } from '../src/reference/dump/dump.js';
import { readNameMap } from '../src/reference/dump/name-map.js';
import { openDump } from '../src/reference/dump/open.js';
import { comparisonGithub, comparisonMarkdown } from './compare-github.js';
import { comparisonHtml } from './compare-html.js';
import { comparisonJson } from './compare-json.js';
import { showsColor } from './compare-paint.js';
import { comparisonText } from './compare-text.js';
import { expectNotRead, GROUPS, idList, pause, readIds } from './options.js';
import { type ProgressBar, progressBar, withBar } from './progress.js';

/** How a dump is read. */
export interface DumpFlags {
  readonly map?: string;
  readonly skip?: RegExp;
  readonly ids?: number[];
  readonly idsFile?: string;
  readonly dtype?: CompareOptions['dtype'];
}

export interface CompareFlags extends DumpFlags {
  readonly html?: string;
  readonly format: 'text' | 'json' | 'github';
  readonly json?: true;
  readonly all?: true;
  readonly strict?: true;
}

export function dumpOptions(command: Command): Command {
  return command
    .option(
      '--map <file>',
      'JSON: their names -> those of a trace, {i} for a layer: {"blk.{i}.q": "layers.{i}.attention.q"}',
    )
    .option('--skip <pattern>', 'leave out their tensors whose names match this regular expression', pattern)
    .option('--ids <ids>', 'tokens of their pass, where the dump has no input_ids: 1,2,3', idList)
    .option('--ids-file <file>', 'the same as a JSON array')
    .addOption(
      new Option('--dtype <dtype>', 'what they compute in (default: what their values show)').choices(
        Object.keys(UNIT_ROUNDOFF),
      ),
    );
}

export function compareOptions(command: Command): Command {
  return dumpOptions(command)
    .optionsGroup(GROUPS.output)
    .option('--html <file>', 'write a report with plots too: one file, which needs nothing else')
    .addOption(
      new Option('--format <format>', 'text; one JSON object; or annotations for a run of GitHub Actions')
        .choices(['text', 'json', 'github'])
        .default('text'),
    )
    .option('--json', 'the same as --format json')
    .option('--all', 'list every tensor, not only what is not within noise')
    .option('--strict', 'end with 1 for suspicious tensors too');
}

/** Opens their dump, compares, tells, and sets the exit code: 1 if they differ. @param others files that are read beside the dump */
export async function compared(
  path: string,
  flags: CompareFlags,
  others: readonly string[],
  work: (theirs: Dump, options: CompareOptions) => Promise<Comparison>,
): Promise<void> {
  const { map, idsFile, html } = flags;
  if (html !== undefined) expectOther(html, [path, ...others, map, idsFile]);
  const reading = readingOf(flags);
  const theirs = openDump(path);
  try {
    const found = await withBar(progressBar('tokens'), ({ update: progress }: ProgressBar) =>
      work(theirs, { ...reading, pause, progress }),
    );
    if (html !== undefined) writeAtomically(html, [Buffer.from(comparisonHtml(found))]);
    tell(found, flags);
    const failed = found.verdict === 'different' || (flags.strict && found.verdict === 'suspicious');
    if (failed) process.exitCode = 1;
  } finally {
    theirs.close();
  }
}

/** What flags say of a dump. @throws UsageError */
export function readingOf({ map, skip, ids, idsFile, dtype }: DumpFlags) {
  if (ids && idsFile !== undefined) throw new UsageError('Expected --ids or --ids-file, got both.');
  return {
    map: map === undefined ? undefined : readNameMap(map),
    skip: skip && ((name: string) => skip.test(name)),
    ids: ids ?? (idsFile === undefined ? undefined : readIds(idsFile)),
    dtype,
  };
}

function tell(found: Comparison, { format, json, all }: CompareFlags): void {
  if (json || format === 'json') process.stdout.write(comparisonJson(found));
  else if (format === 'github') {
    process.stdout.write(comparisonGithub(found));
    const summary = process.env.GITHUB_STEP_SUMMARY;
    if (summary) writeFileSync(summary, comparisonMarkdown(found), { flag: 'a' });
  } else {
    const { stdout } = process;
    process.stdout.write(
      comparisonText(found, { columns: stdout.columns ?? 100, color: showsColor(stdout), all: all ?? false }),
    );
  }
}

/** @throws UsageError for a report that would take the place of what is read, a file of a folder included */
function expectOther(html: string, read: readonly (string | undefined)[]): void {
  const isFolder = (path: string | undefined) =>
    path !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory();
  expectNotRead(html, '--html', read.filter(isFolder) as string[], read);
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new InvalidArgumentError('Expected a regular expression, such as \\.mlp\\.');
  }
}
