/** `npm run report:goldens`: how close to float64 truth we are, beside Hugging Face in float32, for every golden. */
import { GOLDENS } from '../support/fixtures.js';
import { goldenErrors } from '../support/golden-errors.js';

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
for (const golden of GOLDENS) {
  const { name, family, source, ours, huggingFace, float64, tokensEqual, tokens, smallestMargin } =
    await goldenErrors(golden);
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
