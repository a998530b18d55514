#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_pytorch_gpu.py [--unmask PROGRAM] [--rows 32,1024] [--rounds N] [--threads N]

A whole pass of the 7B shape on one GPU in bf16: PyTorch beside `unmask bench forward --device cuda`, in turn, N rounds; prints medians
of the ratios of each round. PyTorch has the maths of the oracle of tests/reference, with the experts' products grouped (where its
grouped_mm is there) or batched over all experts, whichever is faster, its fused attention, and all of the pass replayed as one CUDA
graph. Both: keys and values of 512 positions stored, as many rows as said at their end (with more rows: all of a sequence of so many),
32 wanted rows, which alone go through the last layer and the head; made-up weights. The pass (in float32, of a small network) and the
experts' products (of the first layer) are compared with the oracle first. Needs torch and a GPU."""
import statistics
import sys

import torch
import torch.nn.functional as F

from beside import CONFIG_7B, ROOT, WANTED, compare, options, unmask_ms

sys.path.insert(0, str(ROOT / "tests/reference"))
from llada_moe import Config, KvCache, LladaMoe, rms_norm  # noqa: E402

CONTEXT = 512
SMALL = dict(vocab_size=97, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, expert_intermediate_size=48, num_experts=8,
             num_experts_per_tok=2)

grouped_mm = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


def grouped_experts(x, weights, chosen, wide):
    """Pairs (row, expert) sorted by expert, three products with a group of pairs for each expert; no size is read on the host."""
    gate, up, down = weights
    top_k = chosen.shape[1]
    experts, order = chosen.flatten().sort(stable=True)
    row = order // top_k
    ends = torch.searchsorted(experts, torch.arange(gate.shape[0], device=x.device), right=True).to(torch.int32)
    h = x.index_select(0, row)
    h = F.silu(grouped_mm(h, gate.transpose(1, 2), offs=ends)) * grouped_mm(h, up.transpose(1, 2), offs=ends)
    y = grouped_mm(h, down.transpose(1, 2), offs=ends) * wide.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, row, y)


def batched_experts(x, weights, chosen, wide):
    """All experts for all rows, weighted with zero where a row did not choose: each weight is read once."""
    gate, up, down = weights
    share = torch.zeros(x.shape[0], gate.shape[0], dtype=x.dtype, device=x.device).scatter(1, chosen, wide)
    every = x.expand(gate.shape[0], *x.shape)
    h = F.silu(every @ gate.transpose(1, 2)) * (every @ up.transpose(1, 2))
    return ((h @ down.transpose(1, 2)) * share.t()[:, :, None]).sum(0)


class Pass:
    """One pass over the last `rows` of `length` positions, of which the others' keys and values are stored."""

    def __init__(self, model, rows, length, wanted, experts):
        self.w, self.c, self.experts = model.w, model.config, experts
        self.start, self.length, self.wanted = length - rows, length, wanted
        device = self.w["lm_head.weight"].device
        half = self.c.head_dim // 2
        freq = self.c.rope_theta ** (-torch.arange(half, dtype=torch.float32, device=device) / half)
        angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * freq[None, :]
        dtype = self.w["lm_head.weight"].dtype
        self.cos, self.sin = angle.cos().to(dtype), angle.sin().to(dtype)
        self.store = {}  # by layer: keys and values [kv heads, length, head_dim]

    def rope(self, x, begin):
        half = x.shape[-1] // 2
        a, b, cos, sin = x[..., :half], x[..., half:], self.cos[begin:begin + x.shape[-2]], self.sin[begin:begin + x.shape[-2]]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    def heads(self, x, p, name, count):
        y = F.linear(x, self.w[p + f"self_attn.{name}_proj.weight"]).view(x.shape[0], count, self.c.head_dim)
        if self.c.qk_layernorm and name != "v":
            y = rms_norm(y, self.w[p + f"self_attn.{name}_norm.weight"], self.c.rms_norm_eps)
        return y.transpose(0, 1)

    def attention(self, x, p, asking):
        """Keys and values of all rows of x, queries of the last `asking`."""
        c = self.c
        keys, values = self.store.setdefault(p, [torch.zeros(c.num_key_value_heads, self.length, c.head_dim, dtype=x.dtype, device=x.device)
                                                 for _ in range(2)])
        keys[:, self.start:] = self.rope(self.heads(x, p, "k", c.num_key_value_heads), self.start)
        values[:, self.start:] = self.heads(x, p, "v", c.num_key_value_heads)
        q = self.rope(self.heads(x[-asking:], p, "q", c.num_attention_heads), self.length - asking)
        groups = c.num_attention_heads // c.num_key_value_heads
        k, v = (t.repeat_interleave(groups, 0) if groups > 1 else t for t in (keys, values))
        y = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        return F.linear(y.transpose(0, 1).reshape(asking, -1), self.w[p + "self_attn.o_proj.weight"])

    def moe(self, x, p):
        scores = F.linear(x, self.w[p + "mlp.gate.weight"]).float().softmax(-1)
        weight, chosen = scores.topk(self.c.num_experts_per_tok, dim=-1)
        if self.c.norm_topk_prob:
            weight = weight / weight.sum(-1, keepdim=True)
        return self.experts(x, [self.w[p + f"mlp.experts.{name}_proj.weight"] for name in ("gate", "up", "down")], chosen, weight.to(x.dtype))

    def run(self, tokens):
        """tokens [rows] -> float32 logits of the wanted rows, which are the last ones."""
        c, w = self.c, self.w
        x = F.embedding(tokens, w["model.embed_tokens.weight"])
        for i in range(c.num_hidden_layers):
            p = f"model.layers.{i}."
            asking = x.shape[0] if i + 1 < c.num_hidden_layers else self.wanted
            x = x[-asking:] + self.attention(rms_norm(x, w[p + "input_layernorm.weight"], c.rms_norm_eps), p, asking)
            x = x + self.moe(rms_norm(x, w[p + "post_attention_layernorm.weight"], c.rms_norm_eps), p)
        return F.linear(rms_norm(x, w["model.norm.weight"], c.rms_norm_eps), w["lm_head.weight"]).float()


def random_tokens(model, count):
    generator = torch.Generator("cpu").manual_seed(1)
    return torch.randint(0, model.config.vocab_size, (count,), generator=generator, device="cpu").to(model.w["lm_head.weight"].device)


def prepare_pass(model, rows, context, wanted, experts):
    """A pass with its store filled, and its tokens."""
    length = max(rows, context)
    tokens = random_tokens(model, length)
    whole = Pass(model, length, length, min(wanted, length), experts)
    whole.run(tokens)
    one = Pass(model, rows, length, min(wanted, rows), experts)
    one.store = whole.store
    return one, tokens[length - rows:]


def require_near(found, expected, bound, what):
    off = ((found.float() - expected.float()).norm() / expected.float().norm()).item()
    if not off <= bound:
        sys.exit(f"compare_pytorch_gpu.py: {what}: {off:.2g} off the oracle, expected at most {bound:.2g}")


def check_passes():
    """In float32 rounding makes no row choose other experts: all must agree."""
    for kv_heads, renormalised in ((4, False), (2, True)):
        model = LladaMoe(Config(num_key_value_heads=kv_heads, norm_topk_prob=renormalised, **SMALL), init_std=0.2)
        for rows, context in ((6, 20), (24, 20)):
            one, tokens = prepare_pass(model, rows, context, 5, batched_experts)
            whole, cache = random_tokens(model, one.length), KvCache(one.length)
            model(whole[None], cache=cache)
            expected = model(tokens[None], cache=cache, start=one.start)[0, -one.wanted:]
            require_near(one.run(tokens), expected, 1e-4, f"a pass of {rows} rows")


def check_experts(model, rows, experts):
    """Of one layer, where both take the same scores and so the same experts; both round each product to bf16."""
    x = torch.randn(rows, model.config.hidden_size, dtype=torch.bfloat16)
    p = "model.layers.0."
    require_near(Pass(model, rows, rows, 1, experts).moe(x, p), model.experts(x[None], p)[0], 0.02, experts.__name__)


def replayed(one, tokens):
    """The pass as a graph; the first runs are queued, so that libraries choose and load what they need."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            one.run(tokens)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = one.run(tokens)
    return graph, logits


def graph_ms(graph, repeat=20):
    """From the start of a replay to its results, as a step is waited for."""
    times = []
    for _ in range(repeat + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[3:])


def prepare(model, rows):
    found = {}
    for experts in filter(None, (grouped_mm and grouped_experts, batched_experts)):
        check_experts(model, rows, experts)
        graph, logits = replayed(*prepare_pass(model, rows, CONTEXT, WANTED, experts))
        found[experts.__name__] = (graph_ms(graph), graph, logits)
    name = min(found, key=lambda each: found[each][0])
    print(f"{rows} rows, PyTorch: " + ", ".join(f"{each} {ms:.2f} ms" for each, (ms, _, _) in found.items()) + f"; taken: {name}", file=sys.stderr)
    return lambda: graph_ms(found[name][1])


def main():
    parser = options(__doc__)
    parser.set_defaults(unmask=str(ROOT / "build/cuda/bin/unmask"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("compare_pytorch_gpu.py: expected a GPU that PyTorch can use, found none: nothing was measured")
    with torch.device("cuda"), torch.inference_mode():
        check_passes()
        model = LladaMoe(Config.read(CONFIG_7B), dtype=torch.bfloat16)
        compare(args, "PyTorch", lambda rows: prepare(model, rows),
                lambda rows: unmask_ms(args, "forward", rows, "--device", "cuda", "--context", CONTEXT, "--wanted", WANTED))


if __name__ == "__main__":
    main()
