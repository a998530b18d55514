#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_pytorch.py [--unmask PROGRAM] [--rows 32,1024] [--rounds N] [--threads N]

One MoE layer of the 7B shape (64 experts, hidden 2048, width 1024, top 8) in bf16: the PyTorch oracle of tests/reference
beside `unmask bench gemm`, in turn, N rounds; prints medians of the ratios of each round. PyTorch routes as its random router
says, unmask uniformly; both touch nearly all experts. Needs torch."""
import statistics
import sys
import time

import torch

from beside_gemm import ROOT, compare, options

sys.path.insert(0, str(ROOT / "tests/reference"))
from llada_moe import Config, LladaMoe  # noqa: E402


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


def main():
    args = options(__doc__)
    torch.set_num_threads(args.threads)
    model = layer_of_7b()
    compare(args, "PyTorch", lambda rows: lambda: pytorch_ms(model, rows))


if __name__ == "__main__":
    main()
