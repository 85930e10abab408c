/** A comparison as one HTML page that needs nothing else: no network, and no script to be read. */
import { createHash } from 'node:crypto';
import type { Comparison } from '../src/reference/compare/comparison.js';
import {
  aroundLines,
  bisectionLines,
  firstOf,
  firstText,
  isGood,
  tokensText,
  verdictText,
} from '../src/reference/compare/words.js';
import { VERSION } from '../src/version.js';
import { flowSvg, seriesOf } from './compare-flow-svg.js';
import { heatmapSvg } from './compare-heatmap-svg.js';
import { SCRIPT, STYLE } from './compare-html-style.js';
import { badge, classOf, tensorTable } from './compare-html-table.js';
import { klText, noteLines } from './compare-notes.js';
import { xmlEscaped } from './escape.js';

/** The page's own script may run, and nothing that a name brings. */
const POLICY = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'`;

/** Names and notes, which come from the other side's files, are escaped. The page is well-formed XML but for its first line, style and script. */
export function comparisonHtml(comparison: Comparison): string {
  const title = xmlEscaped(`touchstone: ${comparison.theirs} is ${comparison.verdict}`);
  return [
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}"/>\n`,
    '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n',
    `<title>${title}</title>\n<style>${STYLE}</style>\n</head>\n<body>\n<main>\n`,
    headHtml(comparison),
    section('Root causes', bisectionHtml(comparison)),
    section('Tokens', comparison.tokens ? paragraph(tokensText(comparison.tokens)) : ''),
    section('By tensor and position', heatmapHtml(comparison)),
    section('Along the flow of data', flowHtml(comparison)),
    section('Tensors', tableHtml(comparison)),
    section('Notes', list(noteLines(comparison, 'patterns'))),
    `<p class="faint">Written by touchstone ${VERSION}.</p>\n</main>\n<script>${SCRIPT}</script>\n</body>\n</html>\n`,
  ].join('');
}

const paragraph = (text: string) => `<p>${xmlEscaped(text)}</p>\n`;
const section = (title: string, html: string) =>
  html === '' ? '' : `<section>\n<h2>${title}</h2>\n${html}</section>\n`;
const list = (texts: readonly string[]) =>
  texts.length === 0 ? '' : `<ul>\n${texts.map((text) => `<li>${xmlEscaped(text)}</li>\n`).join('')}</ul>\n`;

function headHtml(comparison: Comparison): string {
  const { verdict, theirs, ours, dtype, precision, tensors } = comparison;
  const first = firstOf(comparison);
  const reason = first ? firstText(first) : verdictText(comparison).slice(verdict.length + 2);
  const good = tensors.filter((tensor) => isGood(tensor.verdict)).length;
  const facts = [
    ['theirs', `${theirs} (${dtype})`],
    ['ours', `${ours} (computed in ${precision})`],
    ['tensors', `${tensors.length}, of which ${good} are within noise`],
  ].map(([term, text]) => `<dt>${term}</dt><dd>${xmlEscaped(text!)}</dd>\n`);
  return [
    `<h1>Comparison with ${xmlEscaped(ours)}</h1>\n`,
    `<div class="verdict ${classOf(verdict)}">\n<p>${badge(verdict)} ${xmlEscaped(reason)}</p>\n`,
    ...aroundLines(comparison, first).map(paragraph),
    `</div>\n<dl>\n${facts.join('')}</dl>\n`,
  ].join('');
}

function bisectionHtml(comparison: Comparison): string {
  return comparison.bisection ? list(bisectionLines(comparison, comparison.bisection)) : '';
}

function heatmapHtml({ tensors }: Comparison): string {
  const svg = heatmapSvg(tensors);
  if (svg === '') return '';
  const samples = [
    ['identical', 'identical'],
    ['noise', 'within noise'],
    ['suspicious level2', 'suspicious'],
    ['different level2', 'different: 10 x the noise'],
    ['different level5', '1,000 x'],
    ['different level8', 'more than a million x, or NaN'],
  ].map(([of, text]) => legendItem(`<rect class="cell ${of}" width="14" height="14"/>`, text!));
  const what =
    'Each cell is the largest difference of a tensor at some positions, in units of what rounding does there. Hold the pointer over one for its numbers.';
  return `<p class="faint">${what}</p>\n<ul class="legend">\n${samples.join('')}</ul>\n<div class="wide">\n${svg}</div>\n`;
}

function legendItem(sample: string, text: string): string {
  return `<li><svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">${sample}</svg>${xmlEscaped(text)}</li>\n`;
}

function flowHtml(comparison: Comparison): string {
  const svg = flowSvg(comparison);
  if (svg === '') return '';
  const samples = seriesOf(comparison).map(({ kind, text }) => {
    const line = kind === 'made' ? '' : '<path class="line" d="M0 7h14"/>';
    return legendItem(`<g class="${kind}">${line}<path class="mark" d="M4 7a3 3 0 1 0 6 0a3 3 0 1 0-6 0z"/></g>`, text);
  });
  return `<ul class="legend">\n${samples.join('')}</ul>\n<div class="wide">\n${svg}</div>\n`;
}

function tableHtml({ tensors }: Comparison): string {
  if (tensors.length === 0) return '';
  const only = '<input type="checkbox" id="only"/> <label for="only">only those that are not within noise</label>\n';
  const about =
    'x noise: the largest difference of a position in units of what rounding does there, which the verdict is made of. Press a head to sort by it.';
  const kl = tensors.flatMap(klText).map(paragraph).join('');
  return `${kl}<p class="faint">${about}</p>\n${only}<div class="wide">\n${tensorTable(tensors)}</div>\n`;
}
