"""Writes what a Hugging Face model computes to a file that `touchstone compare` reads.

    python hf_dump.py MODEL OUT.safetensors --prompt "It was" --steps 4
    python hf_dump.py MODEL OUT.safetensors --ids 1,2,3 --dtype bfloat16 --layers 0-2 --only 'self_attn|logits'

The model runs once over the prompt and its greedy continuation, without a cache, so that row t of every tensor is token t. The file has the
output of every module under the module's path (`model.layers.0.mlp`; further outputs of a module as `PATH.1`, a second call of it as `PATH#1`),
what goes into the last projection of a part, into the norm before the feed-forward and into the first layer as `PATH.input`, and of attention what it is given and makes: `PATH.q_rope`, `.k_rope`, `.v`, `.heads`, and with
--scores `.scores` and `.probabilities`. Shapes are the model's own, with a batch axis of 1.

A port of your own in PyTorch can be recorded too, under its own names:

    from hf_dump import record, save
    with record(model) as tensors:
        tensors["input_ids"] = ids
        tensors["logits"] = model(ids)
    save("theirs.safetensors", tensors)

Needs torch and safetensors; for Hugging Face models transformers 4.56 or later. Tried with torch 2.15 and transformers 5.23.
"""
import argparse
import contextlib
import os
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

# Modules whose input is of interest: last projections (the heads side by side, the hidden values of the feed-forward), the norm before the
# feed-forward (the residual stream), and the first layer.
INPUTS = (
    r"(o_proj|out_proj|dense|c_proj|wo|down_proj|w2|fc2|fc_out|dense_4h_to_h|post_attention_layernorm|pre_feedforward_layernorm|"
    r"\.ln_2|\.norm_2|ffn_norm|\b(layers|h|blocks)\.(0|\d+\.final_layer_norm))$"
)


class Recorder:
    """Keeps copies of tensors by name. `only` and `inputs` are regular expressions, `layers` the first and the last layer."""

    def __init__(self, only=None, inputs=INPUTS, layers=None, scores=False):
        self.only, self.inputs = (re.compile(pattern) if pattern else None for pattern in (only, inputs))
        self.layers, self.scores = layers, scores
        self.tensors = {}

    def keep(self, name, value):
        number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)  # the layer's comes before those of experts
        if self.layers and number and not self.layers[0] <= int(number[1]) <= self.layers[1]:
            return
        if self.only and not self.only.search(name):
            return
        self.tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # a copy: what follows may write to the same memory

    def free(self, name):
        """The name, or NAME#1, NAME#2, ... where a module was called before."""
        again = 0
        while (name if again == 0 else f"{name}#{again}") in self.tensors:
            again += 1
        return name if again == 0 else f"{name}#{again}"

    def output(self, path, output, further=True):
        found = tensors_in(output)
        if not found:
            return
        free = self.free(path)
        for i, value in enumerate(found if further else found[:1]):
            self.keep(free if i == 0 else f"{free}.{i}", value)

    def before(self, path, arguments):
        if self.inputs and self.inputs.search(path) and (found := tensors_in(arguments)):
            self.keep(self.free(f"{path}.input"), found[0])


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if hasattr(value, "to_tuple"):  # an output of transformers
        value = value.to_tuple()
    return [item for item in value if isinstance(item, torch.Tensor)] if isinstance(value, (tuple, list)) else []


@contextlib.contextmanager
def record(model, only=None, inputs=INPUTS, layers=None, scores=False):
    """Records a module while the block runs. Gives the tensors by name, which are there when the model has run."""
    recorder = Recorder(only, inputs, layers, scores)
    paths = {module: path for path, module in model.named_modules() if path}
    attending = set()  # modules of attention: their second output is the probabilities, which --scores asks for
    hooks = []
    for module, path in paths.items():
        hooks.append(module.register_forward_pre_hook(
            lambda module, arguments, keywords, path=path: recorder.before(path, (*arguments, *keywords.values())), with_kwargs=True
        ))
        hooks.append(module.register_forward_hook(
            lambda module, _, output, path=path: recorder.output(path, output, further=module not in attending)
        ))
    try:
        with attention_recorded(recorder, paths, attending):
            yield recorder.tensors
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def attention_recorded(recorder, paths, attending):
    """Wraps the attention function that each module of transformers looks up, whichever it is; without transformers does nothing."""
    modeling = sys.modules.get("transformers.modeling_utils")
    if modeling is None or not hasattr(modeling.ALL_ATTENTION_FUNCTIONS, "get_interface"):
        yield
        return
    kind = type(modeling.ALL_ATTENTION_FUNCTIONS)
    original = kind.get_interface

    def get_interface(self, implementation, default):
        attend = original(self, implementation, default)

        def recorded(module, query, key, value, *rest, **keywords):
            attending.add(module)
            path = paths.get(module, "attention")
            # Where scores are not scaled, but would be (OPT), queries have been: that is another tensor than all others call so.
            scaled = keywords.get("scaling") == 1.0 and getattr(module, "scaling", 1.0) != 1.0
            for name, tensor in (("q_scaled" if scaled else "q_rope", query), ("k_rope", key), ("v", value)):
                recorder.keep(f"{path}.{name}", tensor)
            with SoftmaxInputs() as softmax:
                heads, probabilities = attend(module, query, key, value, *rest, **keywords)
            recorder.keep(f"{path}.heads", heads)
            if recorder.scores and probabilities is not None:
                recorder.keep(f"{path}.probabilities", probabilities)
                if softmax.seen is not None and softmax.seen.shape == probabilities.shape:  # a learned sink is one column more
                    hidden = softmax.seen <= torch.finfo(softmax.seen.dtype).min / 2
                    recorder.keep(f"{path}.scores", softmax.seen.masked_fill(hidden, float("-inf")))
            return heads, probabilities

        return recorded

    kind.get_interface = get_interface
    try:
        yield
    finally:
        kind.get_interface = original


class SoftmaxInputs(TorchFunctionMode):
    """Sees what the last softmax was given: scores, with everything that is done to them."""

    seen = None

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        if getattr(function, "__name__", "") == "softmax" and arguments:
            self.seen = arguments[0]
        return function(*arguments, **(keywords or {}))


def save(path, tensors, **metadata):
    """Writes beside the place and renames, so that a reader never sees half of a file."""
    beside = f"{path}.{os.getpid()}.part"
    try:
        save_file(tensors, beside, metadata={"format": "touchstone-dump-1", "torch": torch.__version__.split("+")[0], **metadata})
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def load(folder, dtype, attention):
    import transformers

    plain = {"experts_implementation": "eager"} if int(transformers.__version__.split(".")[0]) >= 5 else {}
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation=attention, **plain
    ).eval()


@torch.no_grad()
def dump(model, prompt, steps, **options):
    """The tensors of one pass over a prompt and its greedy continuation, and what was fed and chosen."""
    device, ids = next(model.parameters()).device, list(prompt)
    run = lambda: model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits
    for _ in range(steps):
        ids.append(run()[0, -1].argmax().item())
    generated, ids = ids[len(prompt):], ids[:len(prompt) + max(steps - 1, 0)]
    with record(model, **options) as tensors:
        logits = run()
    return {
        **tensors, "logits": logits.cpu().contiguous(), "input_ids": torch.tensor(prompt), "generated_ids": torch.tensor(generated, dtype=torch.int64),
        "positions": torch.arange(len(ids)),
    }


def token_ids(text):
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected token ids with commas between them, such as 1,2,3, got {text!r}") from None


def layer_range(text):
    if not re.fullmatch(r"\d+(-\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected a layer or the first and the last one, such as 5 or 0-2, got {text!r}")
    return tuple(map(int, (text.split("-") * 2)[:2]))


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
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attention", help="attn_implementation of transformers (eager: plain operations, which show scores)", default="eager")
    parser.add_argument("--only", help="a regular expression: names of the tensors to keep (and input_ids, positions, logits)")
    parser.add_argument("--inputs", help="a regular expression: paths of the modules whose input is kept too", default=INPUTS)
    parser.add_argument("--layers", help="keep these layers alone: 0-2, or 5", type=layer_range)
    parser.add_argument("--scores", help="keep scores and probabilities too: [heads, tokens, tokens] a layer", action="store_true")
    given = parser.parse_args()
    if (given.ids is None) == (given.prompt is None):
        parser.error("expected one of --ids and --prompt")
    ids = given.ids
    if ids is None:
        from transformers import AutoTokenizer

        ids = AutoTokenizer.from_pretrained(given.model)(given.prompt).input_ids
    import transformers

    model = load(given.model, given.dtype, given.attention).to(given.device)
    expect_tokens(parser, ids, model.get_input_embeddings().weight.shape[0])
    options = {"only": given.only, "inputs": given.inputs, "layers": given.layers, "scores": given.scores}
    tensors = dump(model, ids, given.steps, **options)
    save(given.out, tensors, model=Path(given.model).name, dtype=given.dtype, attention=given.attention, transformers=transformers.__version__)
    print(f"{given.out}: {len(tensors)} tensors of {len(tensors['positions'])} tokens")


if __name__ == "__main__":
    main()
