/** `npm run report:goldens`: how close to float64 truth we are, beside Hugging Face in float32, for every golden. */
import { GOLDENS } from '../support/fixtures.js';
import { type GoldenReport, goldenErrors } from '../support/golden-errors.js';

const digits = (value: number) => value.toExponential(1);
const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);

row([
  'checkpoint, or variant of one',
  'family',
  'golden by',
  'RMS error ours / HF',
  'ratio',
  'max error ours / HF',
  'ratio',
  'float64 error / max logit',
  'tokens equal',
  'smallest margin',
]);
row(Array(10).fill('---'));
const reports: GoldenReport[] = [];
for (const golden of GOLDENS) {
  const report = await goldenErrors(golden);
  reports.push(report);
  const { name, family, source, ours, huggingFace, float64, tokensEqual, tokens, smallestMargin } = report;
  row([
    name,
    family,
    source,
    `${digits(ours.rms)} / ${digits(huggingFace.rms)}`,
    (ours.rms / huggingFace.rms).toFixed(2),
    `${digits(ours.max)} / ${digits(huggingFace.max)}`,
    (ours.max / huggingFace.max).toFixed(2),
    digits(float64),
    `${tokensEqual} of ${tokens}`,
    digits(smallestMargin),
  ]);
}

const families = new Set(reports.map(({ family }) => family)).size;
const ratios = (of: 'rms' | 'max') => reports.map(({ ours, huggingFace }) => ours[of] / huggingFace[of]);
const [least, most] = [Math.min(...ratios('rms')), Math.max(...ratios('rms'))];
const unequal = reports.filter(({ tokensEqual, tokens }) => tokensEqual < tokens).length;
console.log(
  `\n${reports.length} goldens of ${families} families: RMS ratio ${least.toFixed(2)} to ${most.toFixed(2)}, maximum ratio up to ` +
    `${Math.max(...ratios('max')).toFixed(2)}, float64 error up to ${digits(Math.max(...reports.map(({ float64 }) => float64)))} of the largest logit; ` +
    `${unequal === 0 ? 'all tokens equal' : `other tokens in ${unequal}`}`,
);
