"""Writes what a model of mlx-lm computes to a file that `touchstone compare` reads.

    python mlx_dump.py MODEL OUT.safetensors --prompt "It was" --steps 4
    python mlx_dump.py MODEL OUT.safetensors --ids 1,2,3 --dtype float32 --only 'layers.0|logits'

The model runs once over the prompt and its greedy continuation, without a cache, so that row t of every tensor is token t. The file has the
output of every module under the module's path (`model.layers.0.mlp`; a second call of it as `PATH#1`: a layer's rope turns queries, then
keys), and what goes into the last projection of a part, into the norm before the feed-forward and into the first layer as `PATH.input`.

A module of your own can be recorded too:

    from mlx_dump import record
    with record(model) as arrays:
        arrays["input_ids"] = ids
        arrays["logits"] = model(ids)
    mx.save_safetensors("theirs.safetensors", arrays)

Needs mlx and mlx-lm. Tried with mlx 0.32 on a CPU and mlx-lm 0.32.
"""
import argparse
import contextlib
import os
import re
import sys
from pathlib import Path

INPUTS = (
    r"(o_proj|out_proj|dense|c_proj|wo|down_proj|w2|fc2|fc_out|dense_4h_to_h|post_attention_layernorm|pre_feedforward_layernorm|"
    r"\.ln_2|\.norm_2|ffn_norm|\b(layers|h|blocks)\.0)$"
)


@contextlib.contextmanager
def record(model, only=None, inputs=INPUTS):
    """Records a module while the block runs. Gives the arrays by name, which are there when the model has run."""
    import mlx.core as mx  # not before it is needed: --help needs none

    only, inputs = (re.compile(pattern or default) for pattern, default in ((only, ""), (inputs, "(?!)")))
    paths = {id(module): path for path, module in model.named_modules() if path}
    arrays = {}

    def keep(name, value):
        if not isinstance(value, mx.array) or not only.search(name):
            return
        again = 0
        while (name if again == 0 else f"{name}#{again}") in arrays:
            again += 1
        arrays[name if again == 0 else f"{name}#{again}"] = value

    def watched(call):
        def recorded(self, *arguments, **keywords):
            path = paths.get(id(self))
            if path is not None and inputs.search(path) and arguments:
                keep(f"{path}.input", arguments[0])
            output = call(self, *arguments, **keywords)
            if path is not None:
                values = output if isinstance(output, (tuple, list)) else [output]
                for i, value in enumerate(values):
                    keep(path if i == 0 else f"{path}.{i}", value)
            return output

        return recorded

    # Python looks for __call__ in the class, not in the module.
    classes = {type(module) for _, module in model.named_modules()}
    own = [kind for kind in classes if "__call__" in vars(kind)]
    originals = {kind: kind.__call__ for kind in own}
    try:
        for kind, call in originals.items():
            kind.__call__ = watched(call)
        yield arrays
    finally:
        for kind, call in originals.items():
            kind.__call__ = call


def dump(model, prompt, steps, **options):
    """The arrays of one pass over a prompt and its greedy continuation, and what was fed and chosen."""
    import mlx.core as mx

    ids = list(prompt)
    for _ in range(steps):
        ids.append(model(mx.array([ids]))[0, -1].argmax().item())
    generated, ids = ids[len(prompt):], ids[:len(prompt) + max(steps - 1, 0)]
    with record(model, **options) as arrays:
        logits = model(mx.array([ids]))
    arrays = {**arrays, "logits": logits, "input_ids": mx.array(prompt), "generated_ids": mx.array(generated, dtype=mx.int32), "positions": mx.arange(len(ids))}
    mx.eval(arrays)
    return arrays


def token_ids(text):
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected token ids with commas between them, such as 1,2,3, got {text!r}") from None


def expect_tokens(parser, ids, vocabulary):
    """Ends the program where the prompt has no token, or one that the model has no embedding of."""
    unknown = next((number for number in ids if not 0 <= number < vocabulary), None)
    if unknown is not None:
        parser.error(f"the prompt: the model has tokens 0 to {vocabulary - 1}, got {unknown}")
    if not ids:
        parser.error("the prompt has no tokens; at least one is needed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder, or the name of a model of the hub")
    parser.add_argument("out", help="where to write: a .safetensors file")
    parser.add_argument("--ids", help="the prompt as token ids: 1,2,3", type=token_ids)
    parser.add_argument("--prompt", help="the prompt as text")
    parser.add_argument("--steps", help="greedy tokens after the prompt (0)", type=int, default=0)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="cast the weights (as they are stored)")
    parser.add_argument("--only", help="a regular expression: names of the arrays to keep (and input_ids, positions, logits)")
    parser.add_argument("--inputs", help="a regular expression: paths of the modules whose input is kept too", default=INPUTS)
    given = parser.parse_args()
    if (given.ids is None) == (given.prompt is None):
        parser.error("expected one of --ids and --prompt")
    try:
        import mlx.core as mx
        from mlx_lm.utils import load_model
    except ModuleNotFoundError as missing:
        sys.exit(f"mlx_dump.py needs mlx and mlx-lm (pip install mlx-lm): {missing}.")

    folder = Path(given.model)
    if not folder.exists():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(given.model))
    model, _ = load_model(folder)
    if given.dtype:
        model.set_dtype(getattr(mx, given.dtype))
    ids = given.ids
    if ids is None:
        from transformers import AutoTokenizer

        ids = AutoTokenizer.from_pretrained(folder)(given.prompt).input_ids
    expect_tokens(parser, ids, model(mx.array([[0]])).shape[-1])  # lazy: nothing is computed for a shape; a token beyond it is no error to MLX
    arrays = dump(model, ids, given.steps, only=given.only, inputs=given.inputs)
    beside = f"{given.out}.{os.getpid()}.part.safetensors"  # mlx adds the ending where it is not there
    mx.save_safetensors(beside, arrays, {"format": "touchstone-dump-1", "source": "mlx-lm", "model": folder.name, "dtype": given.dtype or "as stored"})
    os.replace(beside, given.out)
    print(f"{given.out}: {len(arrays)} arrays of {len(arrays['positions'])} tokens")


if __name__ == "__main__":
    main()
