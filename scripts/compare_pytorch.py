#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_pytorch.py [--unmask PROGRAM] [--rows 32,1024] [--rounds N] [--threads N]

One MoE layer of the 7B shape (64 experts, hidden 2048, width 1024, top 8) in bf16: the PyTorch oracle of tests/reference
beside `unmask bench gemm`, in turn, N rounds; prints medians of the ratios of each round. PyTorch routes as its random router
says, unmask uniformly; both touch nearly all experts. Needs torch."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import torch

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/reference"))
from llada_moe import Config, LladaMoe  # noqa: E402


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unmask", default=str(ROOT / "build/release/bin/unmask"))
    parser.add_argument("--rows", default="32,1024")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def layer_of_7b():
    config = Config.read(ROOT / "tests/data/configs/llada-moe-7b-a1b.json")
    config.num_hidden_layers = 1
    config.vocab_size = 256
    config.eos_token_id = config.pad_token_id = 1
    return LladaMoe(config, dtype=torch.bfloat16)


def pytorch_ms(model, rows):
    x = torch.randn(1, rows, model.config.hidden_size).to(torch.bfloat16)
    times = []
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            model.experts(x, "model.layers.0.")
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])  # the first one warms up


def unmask_ms(args, rows):
    out = subprocess.run([args.unmask, "bench", "gemm", "--config", "llada-moe-7b", "--tokens", str(rows), "--repeat", "3",
                          "--threads", str(args.threads), "-o", "json", "--log-level", "error"],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)[0]["median_ms"]


def main():
    args = options()
    torch.set_num_threads(args.threads)
    model = layer_of_7b()
    print("| rows | PyTorch ms | unmask ms | PyTorch / unmask |\n|---|---|---|---|")
    for rows in map(int, args.rows.split(",")):
        pairs = [(pytorch_ms(model, rows), unmask_ms(args, rows)) for _ in range(args.rounds)]
        theirs, ours = (statistics.median(side) for side in zip(*pairs))
        print(f"| {rows} | {theirs:.1f} | {ours:.1f} | {statistics.median(a / b for a, b in pairs):.2f} |", flush=True)


if __name__ == "__main__":
    main()
