#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_pytorch.py [--unmask PROGRAM] [--whole-pass [--layers 4]] [--rows 32,1024] [--rounds N] [--threads N]

The PyTorch oracle of tests/reference in bf16 beside unmask, in turn, N rounds; prints medians of the ratios of each round.
One MoE layer of the 7B shape (64 experts, hidden 2048, width 1024, top 8) beside `unmask bench gemm`; or with --whole-pass a
cut of the 7B shape with so many layers beside `bench forward`: fewer than 512 rows are the last ones of 512 positions whose
keys and values are stored, 32 rows ask for logits. PyTorch routes as its random router says, unmask uniformly. Needs torch."""
import statistics
import sys
import tempfile
import time

import torch

from beside import CONFIG_7B, ROOT, WANTED, compare, cut_of_7b, options, unmask_ms

sys.path.insert(0, str(ROOT / "tests/reference"))
from llada_moe import Config, KvCache, LladaMoe, rms_norm  # noqa: E402

CONTEXT = 512
ENOUGH_MS = 10_000  # of measuring; then one is enough


def median_ms(work):
    times = []
    with torch.inference_mode():
        while len(times) < 2 or len(times) < 4 and sum(times) < ENOUGH_MS:
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])  # the first one warms up


def experts_of_7b():
    config = Config.read(CONFIG_7B)
    config.num_hidden_layers = 1
    config.vocab_size = 256
    config.eos_token_id = config.pad_token_id = 1
    model = LladaMoe(config, dtype=torch.bfloat16)

    def prepare(rows):
        x = torch.randn(1, rows, config.hidden_size).to(torch.bfloat16)
        return lambda: median_ms(lambda: model.experts(x, "model.layers.0."))

    return prepare


class Pass(LladaMoe):
    """The oracle, with logits of the last rows alone."""

    def last_logits(self, tokens, wanted, cache, start):
        c, w = self.config, self.w
        self.router_scores, self.router_counts = [], []
        x = torch.nn.functional.embedding(tokens, w["model.embed_tokens.weight"])
        for i in range(c.num_hidden_layers):
            p = f"model.layers.{i}."
            x = x + self.attention(rms_norm(x, w[p + "input_layernorm.weight"], c.rms_norm_eps), p, None, cache, start)
            x = x + self.experts(rms_norm(x, w[p + "post_attention_layernorm.weight"], c.rms_norm_eps), p)
        x = rms_norm(x[:, -wanted:], w["model.norm.weight"], c.rms_norm_eps)
        return torch.nn.functional.linear(x, w["lm_head.weight"]).float()


def whole_pass(config_file):
    model = Pass(Config.read(config_file), dtype=torch.bfloat16)

    def prepare(rows):
        length = max(rows, CONTEXT)
        tokens = torch.randint(model.config.vocab_size - 1000, (1, length))
        cache = KvCache(length) if rows < CONTEXT else None
        with torch.inference_mode():
            if cache:
                model.last_logits(tokens, 1, cache, 0)
        seen = tokens[:, length - rows:]

        def measure():
            ms = median_ms(lambda: model.last_logits(seen, min(WANTED, rows), cache, length - rows))
            touched = [int((counts > 0).sum()) for counts in model.router_counts]
            print(f"PyTorch, {rows} rows: {ms:.0f} ms, experts touched per layer {touched}", file=sys.stderr)
            return ms

        return measure

    return prepare


def main():
    parser = options(__doc__, passes=True)
    parser.add_argument("--whole-pass", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    if not args.whole_pass:
        compare(args, "PyTorch", experts_of_7b())
        return
    with tempfile.TemporaryDirectory() as folder:
        config = cut_of_7b(folder, args.layers)
        compare(args, "PyTorch", whole_pass(config),
                lambda rows: unmask_ms(args, "forward", rows, "--wanted", WANTED, "--context", CONTEXT, config=config))


if __name__ == "__main__":
    main()
