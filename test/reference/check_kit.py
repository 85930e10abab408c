"""Computes every tensor of a kit's Llama traces in NumPy, within the noise of each: python3 check_kit.py KIT [mha gqa mqa]"""
import json
import sys
from pathlib import Path

import numpy as np

f32, DTYPES = np.float32, {"F32": "<f4", "I32": "<i4", "I64": "<i8", "BF16": "<u2"}


def read(path):
    """A safetensors file -> {name: array}."""
    data, tensors = path.read_bytes(), {}
    start = 8 + int.from_bytes(data[:8], "little")
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            raw = np.frombuffer(data[start + begin:start + end], DTYPES[about["dtype"]]).reshape(about["shape"])
            tensors[name] = (raw.astype("<u4") << 16).view("<f4") if about["dtype"] == "BF16" else raw
    return tensors


def norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + f32(eps)) * weight


def rotated(x, positions, theta):
    """Rope of x [T, heads, K]: value i turns with value i + K / 2."""
    half = x.shape[-1] // 2
    angles = positions[:, None, None] * theta ** -(np.arange(half) / half)
    cos, sin, a, b = np.cos(angles).astype(f32), np.sin(angles).astype(f32), x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def computed(config, weights, ids):
    """(name, tensor) of everything in a trace, in the order in which it is computed."""
    heads, groups, dim = (config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    eps, theta, positions = config["rms_norm_eps"], config["rope_parameters"]["rope_theta"], np.arange(len(ids))
    yield from (("positions", positions), ("embeddings", x := weights["model.embed_tokens.weight"][ids]))
    for i in range(config["num_hidden_layers"]):
        w = {name.removeprefix(f"model.layers.{i}.").removesuffix(".weight"): own for name, own in weights.items()}
        at, ff, cache = f"layers.{i}.attention.", f"layers.{i}.feed_forward.", f"layers.{i}.cache."
        yield at + "input", (y := norm(x, w["input_layernorm"], eps))
        q, k, v = ((y @ w[f"self_attn.{part}_proj"].T).reshape(len(ids), -1, dim) for part in "qkv")
        yield from ((at + "q", q), (at + "k", k), (at + "v", v))
        yield at + "q_rope", (q := rotated(q, positions, theta))
        yield at + "k_rope", (k := rotated(k, positions, theta))
        yield from ((cache + "positions", positions), (cache + "block_rows", np.array([len(ids)])), (cache + "k", k), (cache + "v", v))
        k, v = (np.repeat(shared, heads // groups, 1) for shared in (k, v))  # query head h reads key/value head h // (H / G)
        scores = np.einsum("thk,shk->ths", q, k) * f32(dim**-0.5)
        yield at + "scores", (scores := np.where(np.tri(len(ids), dtype=bool)[:, None], scores, f32(-np.inf)))
        weighed = np.exp(scores - scores.max(-1, keepdims=True))
        yield at + "probabilities", (probabilities := weighed / weighed.sum(-1, keepdims=True))
        yield at + "heads", (out := np.einsum("ths,shv->thv", probabilities, v))
        yield at + "output", (out := out.reshape(len(ids), -1) @ w["self_attn.o_proj"].T)
        yield at + "residual", (x := x + out)
        yield ff + "input", (y := norm(x, w["post_attention_layernorm"], eps))
        gate = y @ w["mlp.gate_proj"].T
        yield ff + "hidden", (y := gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj"].T))
        yield ff + "output", (y := y @ w["mlp.down_proj"].T)
        yield f"layers.{i}.output", (x := x + y)
    yield "final_norm", (x := norm(x, weights["model.norm.weight"], eps))
    yield "logits", x @ weights["lm_head.weight"].T


def ratios(mine, theirs, noise):
    """For each row the largest distance, as a part of what passes: 8 x max(noise, its mean, 2^-24 x largest value)."""
    rows = theirs.reshape(len(theirs), -1)
    equal = mine.reshape(rows.shape) == rows  # -inf too
    if noise is None:
        return np.where(equal.all(1), 0, np.inf)
    distance = np.where(equal, 0, np.abs(mine.reshape(rows.shape) - np.where(equal, 0, rows)))
    largest = np.abs(np.where(np.isfinite(rows), rows, 0)).max(1)
    passes = 8 * np.maximum(np.maximum(noise[:, 1], noise[:, 1].mean()), 2**-24 * largest)
    return np.nan_to_num(distance.max(1) / (passes + 1e-45), nan=np.inf)


def check(kit, name):
    """Prints a line for each group of tensors. @returns whether all pass"""
    config, prompts = (json.loads((kit / file).read_text()) for file in (f"checkpoints/{name}/config.json", "prompts.json"))
    weights, trace = read(kit / f"checkpoints/{name}/model.safetensors"), read(kit / f"traces/{name}.safetensors")
    prompt, generated = prompts[name]["input_ids"], prompts[name]["generated_ids"]
    made, groups, good = dict(computed(config, weights, np.array(prompt + generated[:-1]))), {}, True
    last = made["logits"][len(prompt) - 1:]
    made |= {"input_ids": np.array(prompt), "generated_ids": last.argmax(-1), "margins": np.sort(last)[:, -1] - np.sort(last)[:, -2]}
    for key, mine in made.items():
        source = {"margins": "logits"}.get(key, key.replace("cache.k", "attention.k_rope").replace("cache.v", "attention.v"))
        noise = trace.get(f"noise.{source}")  # of the same rows
        assert mine.shape == trace[key].shape and (noise is None or mine.dtype == f32), f"{key}: {mine.shape} {mine.dtype}"
        rows = ratios(mine, trace[key], noise[-len(mine):] * (2 if key == "margins" else 1) if noise is not None else None)
        groups.setdefault(key.rpartition(".")[0] or key, []).append((rows.max(), key, int(np.argmax(rows > 1))))
    for group, found in groups.items():
        _, key, position = next((one for one in found if one[0] > 1), (0, None, 0))
        print(f"FAIL {key} {position}" if key else "ok", f"({name} {group}: {len(found)} tensors, at most {max(found)[0]:.2g} of what passes)")
        good &= key is None
    return good and set(made) == {key for key in trace if not key.startswith("noise.")}


if __name__ == "__main__":
    sys.exit(not all([check(Path(sys.argv[1]), name) for name in sys.argv[2:] or ["mha", "gqa", "mqa"]]))
