#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_kt_kernel.py [--dtype bf16|int8] [--unmask PROGRAM] [--rows 32,1024] [--rounds N] [--threads N]

One MoE layer of the 7B shape (64 experts, hidden 2048, width 1024, top 8): the kernels of kt-kernel (PyPI) beside
`unmask bench gemm`, in turn, N rounds; prints medians of the ratios of each round. Both route every row to experts chosen
uniformly. kt-kernel's answer is compared with PyTorch's before it is timed. In int8, for which it needs AVX-512, kt-kernel
rounds inputs to int8 too (unmask does not), and its answer may be 4 % off instead of 2. Needs kt-kernel and torch."""
import statistics
import sys
import time

import torch
from kt_kernel import kt_kernel_ext as kt

from beside import compare, options, unmask_ms

EXPERTS, HIDDEN, WIDTH, TOP = 64, 2048, 1024, 8


class Layer:
    def __init__(self, threads, most_rows, dtype):
        pool = kt.WorkerPoolConfig()
        pool.subpool_count, pool.subpool_numa_map, pool.subpool_thread_count = 1, [0], [threads]
        self.cpu = kt.CPUInfer(pool)
        self.weights = [torch.randn((EXPERTS, *shape), dtype=torch.bfloat16) * 0.05
                        for shape in ((WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH))]
        self.allowed = 0.02 if dtype == "bf16" else 0.04
        config = kt.moe.MOEConfig(EXPERTS, TOP, HIDDEN, WIDTH, 0)
        config.max_len, config.pool = most_rows, self.cpu.backend_
        if dtype == "bf16":
            config.gate_projs, config.up_projs, config.down_projs = ([[w.data_ptr() for w in kind]] for kind in self.weights)
            family = getattr(kt.moe, "AMXBF16_MOE", None) or kt.moe.AVX2BF16_MOE
        else:  # converted while it loads
            config.gate_proj, config.up_proj, config.down_proj = (kind.data_ptr() for kind in self.weights)
            family = getattr(kt.moe, "AMXInt8_MOE", None) or sys.exit("this kt-kernel has no int8 form for this processor")
        self.moe, self.name = family(config), family.__name__
        order = torch.arange(EXPERTS, dtype=torch.int64)
        self.work(self.moe.load_weights_task(order.data_ptr()))

    def work(self, task):
        self.cpu.submit(task)
        self.cpu.sync()

    def run(self, x, experts, weights):
        count, y = torch.tensor([x.shape[0]], dtype=torch.int32), torch.empty_like(x)
        begin = time.perf_counter()
        self.work(self.moe.forward_task(count.data_ptr(), TOP, experts.data_ptr(), weights.data_ptr(), x.data_ptr(), y.data_ptr(), False))
        return y, (time.perf_counter() - begin) * 1000

    def plain(self, x, experts, weights):
        y, (gate, up, down) = torch.zeros(x.shape), self.weights
        for e in range(EXPERTS):
            row, place = (experts == e).nonzero(as_tuple=True)
            rows = x[row].float()
            h = torch.nn.functional.silu(rows @ gate[e].float().T) * (rows @ up[e].float().T)
            y.index_add_(0, row, (h @ down[e].float().T) * weights[row, place, None])
        return y

    def prepare(self, rows):
        x = torch.randn(rows, HIDDEN, dtype=torch.bfloat16)
        experts = torch.stack([torch.randperm(EXPERTS)[:TOP] for _ in range(rows)])
        weights = torch.rand(rows, TOP)
        expected = self.plain(x, experts, weights)
        error = ((self.run(x, experts, weights)[0].float() - expected).norm() / expected.norm()).item()
        if not error < self.allowed:
            sys.exit(f"kt-kernel's answer for {rows} rows is {error:.3f} off")
        return lambda: statistics.median(self.run(x, experts, weights)[1] for _ in range(3))


def main():
    parser = options(__doc__)
    parser.add_argument("--dtype", choices=("bf16", "int8"), default="bf16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    layer = Layer(args.threads, max(args.rows), args.dtype)
    compare(args, layer.name, layer.prepare, lambda rows: unmask_ms(args, "gemm", rows, "--dtype", args.dtype))


if __name__ == "__main__":
    main()
