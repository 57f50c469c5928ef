"""What looking costs: seconds and memory of an attention capture against a plain forward.

    python tests/benchmarks/attention_cost.py cost MODEL_DIR [--tokens 512] [--repeats 15]
    python tests/benchmarks/attention_cost.py tile [--tokens 32768] [--width 64]
    python tests/benchmarks/attention_cost.py memory [--tokens 4096]

`cost` takes the same input as `eager_attention.py` does: random tokens, no padding. Prints one JSON object a line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


def milliseconds(function, repeats):
    """Return the median of several calls and the last result."""
    found = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        result = function()
        found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found[2:]), result


def interleaved(functions, repeats):
    """Return the median milliseconds of each function, called in turns so that a busy computer hits all alike."""
    found = [[] for _ in functions]
    for turn in range(repeats + 2):
        for function, times in zip(functions, found, strict=True):
            start = time.perf_counter()
            function()
            if turn > 1:
                times.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(times) for times in found], found


def cost(folder, n_tokens, repeats):
    import torch
    from transformers import AutoModel

    from studio.attention.capture import capture
    from studio.attention.interface import recording

    ids = torch.randint(1000, 2000, (1, n_tokens))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model = AutoModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    eager = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    switches, waits = [], []

    def recorded():
        """Take the time of switching to our function, of the forward, and of reading what it passed."""
        start = time.perf_counter()
        with recording(model, 1 << 30, queries=True) as recorder:
            switched = time.perf_counter()
            model(**inputs)
            waits.append((time.perf_counter() - switched) * 1e3)
            switches.append((switched - start) * 1e3)
        recorder.take()

    with torch.inference_mode():
        functions = [lambda: model(**inputs), recorded, lambda: eager(**inputs, output_attentions=True)]
        functions += [lambda: capture(model, inputs, queries=True), lambda: capture(model, inputs, queries=False)]
        (plain, read, full, whole, maps), times = interleaved(functions, repeats)
        ratio = statistics.median(w / p for w, p in zip(waits[2:], times[0], strict=True))
        captured = capture(model, inputs, queries=True)
    forward = statistics.median(waits[2:])
    layers = captured.attention
    head, _ = milliseconds(lambda: layers[2, 3], repeats) if n_tokens > 64 else (0.0, None)
    return {
        "tokens": n_tokens,
        "sdpa_ms": round(plain, 1),
        "switch_ms": round(statistics.median(switches), 1),
        "queries_forward_ms": round(forward, 1),
        "queries_ratio": round(ratio, 3),
        "queries_with_lse_and_checks_ms": round(read, 1),
        "whole_verified_capture_ms": round(whole, 1),
        "whole_capture_of_maps_ms": round(maps, 1),
        "eager_output_attentions_ms": round(full, 1),
        "one_head_ms": round(head, 2),
        "verified": captured.checks["verified"],
    }


def tile(n_tokens, width, repeats):
    from studio.attention.qk import Mask, QueryKeys
    from studio.attention.streaming import log_sum_exp

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("query", "key"):
            np.save(f"{folder}/{name}.npy", random.standard_normal((1, n_tokens, width), dtype=np.float32))
        query, key = (np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in ("query", "key"))
        layer = QueryKeys(query, key, np.full((1, n_tokens), np.inf), width**-0.5, Mask((1 - n_tokens, 0)))
        rows = slice(n_tokens - 300, n_tokens - 44)
        layer.lse[:, rows] = log_sum_exp(layer, rows)
        columns = slice(n_tokens - 700, n_tokens - 444)
        spent, values = milliseconds(lambda: layer.tile(0, rows, columns), repeats)
        scores = query[0, rows].astype(np.float64) @ key[0].astype(np.float64).T * width**-0.5
        scores[np.arange(n_tokens)[None] > np.arange(rows.start, rows.stop)[:, None]] = -np.inf
        full = np.exp(scores - scores.max(axis=1, keepdims=True))
        full /= full.sum(axis=1, keepdims=True)
        error = np.abs(values - full[:, columns]).max()
    return {"tokens": n_tokens, "tile_ms": round(spent, 2), "largest_error": float(error)}


def memory_of(how, n_tokens):
    """Print the largest extra memory of one way to look, in a process of its own."""
    import psutil
    import torch
    from transformers import LlamaConfig, LlamaModel

    from studio.attention.capture import capture

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8, intermediate_size=256,
        vocab_size=100, max_position_embeddings=n_tokens,
    )  # fmt: skip
    model = LlamaModel(config).eval()
    inputs = {"input_ids": torch.randint(0, 100, (1, n_tokens))}
    process, largest, done = psutil.Process(), [0], threading.Event()
    with torch.inference_mode():
        for _ in range(2):
            model(**inputs, use_cache=False)
    short = {"input_ids": inputs["input_ids"][:, :100]}
    capture(model, short, queries=True)

    def watch():
        while not done.is_set():
            largest[0] = max(largest[0], process.memory_info().rss)
            time.sleep(0.002)

    def peak(function):
        largest[0] = 0
        done.clear()
        thread = threading.Thread(target=watch)
        thread.start()
        start = time.perf_counter()
        result = function()
        done.set()
        thread.join()
        return largest[0] / 1e6, time.perf_counter() - start, result

    with tempfile.TemporaryDirectory() as folder:
        with torch.inference_mode():
            plain, _, _ = peak(lambda: model(**inputs, use_cache=False))
        ways = {
            "queries": lambda: capture(model, inputs, queries=True),
            "queries in a file": lambda: capture(model, inputs, 0, queries=True, spool=Path(folder)),
            "streaming": lambda: capture(model, inputs, 0, queries=False, spool=Path(folder)),
        }
        found, seconds, captured = peak(ways[how])
        facts = {"way": how, "plain_mb": round(plain), "extra_mb": round(found - plain), "seconds": round(seconds, 1)}
        facts |= {"full_map_mb": round(captured.attention.size * 4 / 1e6), "verified": captured.checks["verified"]}
        print(json.dumps(facts), flush=True)
        del captured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "tile", "memory"])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--way")
    given = parser.parse_args()
    if given.what == "cost":
        for n_tokens in [given.tokens] if given.tokens else [16, 32, 64, 128, 256, 512]:
            print(json.dumps(cost(given.model, n_tokens, given.repeats)), flush=True)
    elif given.what == "tile":
        print(json.dumps(tile(given.tokens or 32768, given.width, given.repeats)), flush=True)
    elif given.way:
        memory_of(given.way, given.tokens or 4096)
    else:
        for way in ("queries", "queries in a file", "streaming"):
            command = [sys.executable, __file__, "memory", "--way", way, "--tokens", str(given.tokens or 4096)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
