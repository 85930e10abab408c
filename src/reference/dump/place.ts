/** Names of tensors taken apart: which layer, what in it. */

/** Where a module stands, in any code base that names by paths: `model.layers.3.self_attn.q_proj`, `h_3/attn/c_attn`, ... */
export interface Place {
  /** null: in no layer. */
  readonly layer: number | null;
  /** Within the layer, or the whole path where there is none; separated by dots. */
  readonly path: string;
  /** What is recorded: what comes out, or what goes in. */
  readonly side: 'output' | 'input';
  /** How often the module was called before: the n of `PATH#n`. */
  readonly again: number;
}

/** What wrappers of a model put before every path. */
const WRAPPERS = /^(?:(?:module|_orig_mod|_fsdp_wrapped_module|base_model\.model|language_model|text_model)\.)+/;

/** Containers of layers, and a layer's number: `layers.3`, `h.3`, `blocks_3`, `layer3`. */
const LAYER = /^(?:.*?\.)?(?:layers?|h|blocks?|blk)[._]?(\d+)(?:\.(.*))?$/s;

/** Dots for slashes and brackets, without what wrappers put before it. */
export function dotted(name: string): string {
  const dots = name.trim().replace(/\[(\d+)\]/g, '.$1').replace(/::|\//g, '.').replace(/^\.+/, ''); // biome-ignore format: one step
  return dots.replace(WRAPPERS, '');
}

export function placeOf(name: string): Place {
  const [path = '', again = '0'] = dotted(name).split('#');
  const [, bare = '', input] = /^(.*?)(?:\.(input|output|out))?$/s.exec(path)!;
  const found = LAYER.exec(bare);
  return {
    layer: found ? Number(found[1]) : null,
    path: found ? (found[2] ?? '') : bare,
    side: input === 'input' ? 'input' : 'output',
    again: Number.parseInt(again, 10) || 0,
  };
}
