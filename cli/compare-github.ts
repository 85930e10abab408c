/** A comparison in GitHub's workflows: annotations of a run, and a summary of its job. */
import type { Comparison, TensorComparison } from '../src/reference/compare/comparison.js';
import { cosineText, count, figures, plural } from '../src/reference/compare/numbers.js';
import {
  aroundLines,
  bisectionLines,
  type First,
  firstOf,
  firstText,
  isGood,
  problemText,
  ratioText,
  rootGroups,
  rootText,
  tokensText,
  verdictText,
} from '../src/reference/compare/words.js';
import { comparedText, klText, noteLines } from './compare-notes.js';
import { printable, xmlEscaped } from './escape.js';
import { type Column, markdownTable } from './table.js';

/** GitHub shows no more annotations of a kind and step. */
const MOST = 10;

interface Annotation {
  readonly level: 'error' | 'warning' | 'notice';
  readonly title: string;
  readonly lines: readonly string[];
}

/** Workflow commands, one a line: the first divergence, root causes, tokens, then tensors that are not known to follow from these; at most ten in all. */
export function comparisonGithub(comparison: Comparison): string {
  const all = annotationsOf(comparison);
  const left = all.length - (MOST - 1);
  const shown =
    all.length <= MOST
      ? all
      : [
          ...all.slice(0, MOST - 1),
          { ...all[MOST - 1]!, title: 'More tensors', lines: [`${count(left)} more findings`] },
        ];
  return shown.map(commandOf).join('');
}

function annotationsOf(comparison: Comparison): Annotation[] {
  const { verdict, tensors, tokens, bisection } = comparison;
  const first = firstOf(comparison);
  if (first === null)
    return [{ level: levelOf(verdict), title: 'touchstone compare', lines: [verdictText(comparison)] }];
  const roots = bisection
    ? rootGroups(bisection).filter((group) => !group.some(({ tensor }) => nameOf(first) === tensor))
    : [];
  const said = new Set([nameOf(first), ...(bisection?.roots ?? []).map(({ tensor }) => tensor)]);
  const follows = new Set(bisection?.tensors.filter(({ verdict: of }) => isGood(of)).map(({ name }) => name));
  const others = tensors.filter(({ name, verdict: of }) => !isGood(of) && !said.has(name) && !follows.has(name));
  return [
    firstAnnotation(comparison, first),
    ...roots.map(
      (group): Annotation => ({
        level: levelOf(group[0].verdict),
        title: `Root cause: ${group[0].tensor}`,
        lines: [rootText(group, null)],
      }),
    ),
    ...(tokens && first.kind !== 'tokens' && !isGood(tokens.verdict)
      ? [{ level: levelOf(tokens.verdict), title: 'Tokens differ', lines: [tokensText(tokens)] }]
      : []),
    ...others.filter(({ verdict: of }) => of === 'different').map(tensorAnnotation),
    ...others.filter(({ verdict: of }) => of !== 'different').map(tensorAnnotation),
  ];
}

const nameOf = (first: First) => (first.kind === 'tokens' ? null : first.tensor);

function levelOf(verdict: Comparison['verdict']): Annotation['level'] {
  return isGood(verdict) ? 'notice' : verdict === 'suspicious' ? 'warning' : 'error';
}

/** With what is known around it. */
function firstAnnotation(comparison: Comparison, first: First): Annotation {
  const { verdict, bisection } = comparison;
  const around = [...aroundLines(comparison, first), ...(bisection ? bisectionLines(comparison, bisection) : [])];
  const where = first.kind === 'tokens' ? 'Tokens' : `First at ${first.tensor}`;
  return { level: levelOf(verdict), title: `${where}: ${verdict}`, lines: [firstText(first), ...around] };
}

function tensorAnnotation(tensor: TensorComparison): Annotation {
  const { name, verdict, measures } = tensor;
  const message = measures
    ? `${ratioText(measures.ratio)}: largest difference ${figures(measures.maxAbs)}, RMS ${figures(measures.rms)} where rounding alone does ${figures(measures.noise.rms)}`
    : problemText(tensor);
  return { level: levelOf(verdict), title: `${name}: ${verdict}`, lines: [message] };
}

/** As GitHub's own toolkit escapes them: https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts */
function commandOf({ level, title, lines }: Annotation): string {
  const data = (text: string) => text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
  const property = (text: string) => data(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
  return `::${level} title=${property(printable(title))}::${data(lines.map(printable).join('\n'))}\n`;
}

/** For $GITHUB_STEP_SUMMARY. */
export function comparisonMarkdown(comparison: Comparison): string {
  const { verdict, tensors, tokens, bisection } = comparison;
  const first = firstOf(comparison);
  const said = [
    ...aroundLines(comparison, first),
    ...(bisection ? bisectionLines(comparison, bisection) : []),
    ...(tokens && first !== null && first.kind !== 'tokens' ? [`tokens: ${tokensText(tokens)}`] : []),
    ...tensors.flatMap(klText),
    comparedText(comparison),
    ...noteLines(comparison, 'short'),
  ].map((line) => `- ${inMarkdown(line)}\n`);
  const reason = inMarkdown(verdictText(comparison).slice(verdict.length + 2));
  return `### touchstone compare: ${verdict}\n\n${reason}\n\n${tableOf(tensors)}${said.join('')}`;
}

function tableOf(tensors: readonly TensorComparison[]): string {
  const bad = tensors.filter(({ verdict }) => !isGood(verdict));
  if (bad.length === 0) return '';
  const shown = bad.slice(0, MOST);
  const columns = ['tensor', 'verdict', 'x noise', 'max abs', 'RMS', 'noise', 'cosine'].map(
    (title, i): Column => ({ title, align: i < 2 ? 'left' : 'right' }),
  );
  const rows = shown.map(({ name, verdict, measures: of }) => [
    inMarkdown(name),
    verdict,
    ...(of
      ? [figures(of.ratio), figures(of.maxAbs), figures(of.rms), figures(of.noise.rms), cosineText(of.cosine)]
      : ['-', '-', '-', '-', '-']),
  ]);
  const good = tensors.length - bad.length;
  const more =
    bad.length > shown.length ? `${plural(bad.length - shown.length, 'more tensor')} that need a look, ` : '';
  return `${markdownTable(columns, rows)}\n${more}${plural(good, 'tensor')} within noise.\n\n`;
}

/** What Markdown would take for marks, in a line of text or a cell. */
function inMarkdown(text: string): string {
  return xmlEscaped(printable(text).replace(/[\\`*_~[\]|#]/g, (mark) => `\\${mark}`));
}
