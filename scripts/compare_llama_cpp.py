#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_llama_cpp.py --llama-bench PROGRAM [--unmask PROGRAM] [--layers 4] [--rows 32,1024] [--rounds N] [--threads N]

Whole passes of a cut of the 7B shape in bf16: llama.cpp's llama-bench (architecture llada-moe, bidirectional attention) beside
`unmask bench forward`, in turn, N rounds, for each of llama.cpp's settings; prints medians of the ratios of each round. llama.cpp
keeps no keys and values for this network: its rows see themselves alone, and it computes logits of one row, so unmask is
asked for the same (--context 1 --wanted 1). Weights are random, 0.9 GB a layer and 1.3 GB, in a temporary folder. Needs gguf and numpy."""
import json
import pathlib
import subprocess
import tempfile

import gguf
import numpy

from beside import compare, cut_of_7b, options, unmask_ms

SETTINGS = {"llama.cpp": ["-fa", "0"], "llama.cpp, flash attention": ["-fa", "1"]}


def write_model(config, file):
    """A GGUF file of the shape in `config`, with normally distributed weights of deviation 0.02, and all different."""
    hidden, width, experts = config["hidden_size"], config["expert_intermediate_size"], config["num_experts"]
    heads, layers, vocabulary = config["num_attention_heads"], config["num_hidden_layers"], config["vocab_size"]
    head = hidden // heads
    writer = gguf.GGUFWriter(file, "llada-moe")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(config["dense_intermediate_size"])
    writer.add_expert_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_expert_count(experts)
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_vocab_size(vocabulary)
    writer.add_causal_attention(False)
    writer.add_mask_token_id(vocabulary - 289)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{i}" for i in range(vocabulary)])
    writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    writer.add_token_merges(["t 0"])
    writer.add_eos_token_id(config["eos_token_id"])
    random = numpy.random.default_rng(1)

    def add(name, *shape):
        values = random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)
        bits = (values.view(numpy.uint32) >> 16).astype(numpy.uint16)  # bfloat16, rounded towards zero
        writer.add_tensor(name, bits.view(numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def add_ones(name, size):
        writer.add_tensor(name, numpy.ones(size, numpy.float32))

    add("token_embd.weight", vocabulary, hidden)
    add("output.weight", vocabulary, hidden)
    add_ones("output_norm.weight", hidden)
    for i in range(layers):
        add_ones(f"blk.{i}.attn_norm.weight", hidden)
        add_ones(f"blk.{i}.ffn_norm.weight", hidden)
        add_ones(f"blk.{i}.attn_q_norm.weight", head)
        add_ones(f"blk.{i}.attn_k_norm.weight", head)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{i}.{name}.weight", hidden, hidden)
        writer.add_tensor(f"blk.{i}.ffn_gate_inp.weight", random.standard_normal((experts, hidden), dtype=numpy.float32))
        add(f"blk.{i}.ffn_gate_exps.weight", experts, width, hidden)
        add(f"blk.{i}.ffn_up_exps.weight", experts, width, hidden)
        add(f"blk.{i}.ffn_down_exps.weight", experts, hidden, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_ms(args, model, rows, setting):
    out = subprocess.run([args.llama_bench, "-m", str(model), "-p", str(rows), "-n", "0", "-b", str(rows), "-ub", str(rows), "-t", str(args.threads),
                          "-r", "3", "-o", "json", *setting], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)[0]["avg_ns"] / 1e6


def main():
    parser = options(__doc__, passes=True)
    parser.add_argument("--llama-bench", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = cut_of_7b(folder, args.layers)
        model = pathlib.Path(folder) / "model.gguf"
        write_model(json.loads(config.read_text()), model)
        for name, setting in SETTINGS.items():
            compare(args, name, lambda rows: lambda: llama_ms(args, model, rows, setting),
                    lambda rows: unmask_ms(args, "forward", rows, "--wanted", 1, "--context", 1, config=config))


if __name__ == "__main__":
    main()
