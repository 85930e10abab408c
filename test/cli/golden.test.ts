import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { output, touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

describe('touchstone golden', () => {
  const folder = fixture('tiny-mistral-f16');

  it('captures chosen layers and positions, and refuses others', () => {
    const out = join(temporaryFolder(), 'trace.safetensors');
    const args = ['golden', folder, '--ids', '1,2,3,4', '--out', out];
    const found = JSON.parse(
      output([...args, '--capture', 'all', '--layers', '0-1', '--positions', '1-2,3', '--json']),
    ) as { tensors: number; logits: number[]; capture: string };
    expect(found).toMatchObject({ capture: 'all', logits: [3, 256] });
    expect(found.tensors).toBeGreaterThan(30);
    for (const [flags, message] of [
      [['--layers', '0', '--capture', 'logits'], /--layers: goes with --capture/],
      [['--capture', 'layers', '--layers', '0-9'], /layers \(--layers\): the model has 0 to 2, got 3\./],
      [['--positions', '4'], /positions \(--positions\): the run has 0 to 3, got 4\./],
      [['--layers', 'x'], /such as 0-2,7/],
      [['--positions', '5-2'], /such as 0-2,7/],
      [['--capture', 'some'], /--capture/],
      [['--noise', '--kernel', 'gpu', '--device', 'cpu'], null],
    ] as const) {
      const other = join(temporaryFolder(), 'trace.safetensors');
      const { code, err } = touchstone(['golden', folder, '--ids', '1,2,3,4', '--out', other, ...flags]);
      expect(code, err).toBe(message ? 2 : 0);
      if (message) expect(err).toMatch(message);
      expect(existsSync(other)).toBe(message === null);
    }
  });
});
