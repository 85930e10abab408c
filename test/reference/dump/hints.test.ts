import { describe, expect, it } from 'vitest';
import { loadModel } from '../../../src/model/load.js';
import { hintsFor } from '../../../src/reference/dump/hints.js';
import { fixture } from '../../support/fixtures.js';

const configOf = (checkpoint: string) => loadModel(fixture(checkpoint)).config;

describe('hints of layouts', () => {
  it('say what rope turns: a part of each head, or with a latent its last values', () => {
    const phi = configOf('families/gpt-neox');
    const { headDim } = phi.layers[1]!.attention as { headDim: number };
    const rope = { from: 0, size: headDim / 2, pairs: 'half-split' };
    for (const name of ['q', 'k', 'q_rope', 'k_rope']) {
      expect(hintsFor(`layers.1.attention.${name}`, [5, 4, headDim], 'RHK', phi)).toEqual({ axes: 'RHK', rope });
    }
    const latent = configOf('families/deepseek-v3');
    const naive = hintsFor('layers.0.attention.q_rope', [5, 4, 20], 'RHK', latent);
    const absorbed = hintsFor('layers.0.attention.q_rope', [5, 4, 32], 'RHK', latent);
    expect([naive.rope, absorbed.rope]).toEqual([
      { from: 12, size: 8, pairs: 'interleaved' },
      { from: 24, size: 8, pairs: 'interleaved' },
    ]);
    expect(hintsFor('layers.0.attention.rope_key', [5, 1, 8], 'R1R', latent).rope).toMatchObject({ from: 0, size: 8 });
  });

  it('say it of queries and keys alone, and only where there is a rope', () => {
    const llama = configOf('austen-llama');
    for (const name of ['attention.v', 'attention.heads', 'output']) {
      expect(hintsFor(`layers.0.${name}`, [5, 2, 24], 'RHK', llama).rope).toBeNull();
    }
    expect(hintsFor('logits', [5, 1024], 'RN', llama)).toEqual({ axes: 'RN' });
    expect(hintsFor('layers.0.attention.q', [5, 6, 16], 'RHK', configOf('austen-gpt2')).rope).toBeNull();
  });

  it('say which heads one tensor of three holds', () => {
    const { fused } = hintsFor('layers.0.attention.k', [5, 2, 24], 'RGK', configOf('austen-llama'), 'k');
    expect(fused).toEqual({ part: 'k', queryHeads: 8, keyValueHeads: 2 });
  });
});
