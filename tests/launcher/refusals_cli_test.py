#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rubbish in, an explanation and the documented exit code out: no crash, no hang, on any rank count."""
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

from unmask_cli import DATA, DEMO, PROGRAM, CliTest, Folder, Result, request_file, unmask

PLAIN = DATA / "plain"
EXPERT = "model.layers.0.mlp.experts.3.up_proj.weight"  # lives on the last rank of several
ASK = ["--prompt-tokens", "1,2,3", "--gen-length", "8"]


class Checkpoints(CliTest):
    def refuse(self, source, damage, *words, ranks=(0, 3), code=3):
        for count in ranks:
            with self.subTest(words=words, ranks=count), Folder(source) as folder:
                damage(folder)
                self.assertRefused(unmask("generate", "--model", folder.path, *ASK, ranks=count), code, *words)

    def test_truncated_file(self):
        def cut(folder):
            file = folder.path / "model.safetensors"
            file.write_bytes(file.read_bytes()[:-100])
        self.refuse(PLAIN, cut, "model.safetensors")

    def test_header_length_of_two_to_the_63(self):
        def lie(folder):
            file = folder.path / "model.safetensors"
            file.write_bytes(struct.pack("<Q", 1 << 63) + file.read_bytes()[8:])
        self.refuse(PLAIN, lie, "model.safetensors", "9223372036854775808")

    def test_duplicate_keys(self):
        def twice(header):
            text = json.dumps(header)
            first = json.dumps({EXPERT: header[EXPERT]})[1:-1]
            return text[:-1] + ", " + first + "}"
        self.refuse(PLAIN, lambda f: f.header(twice), "model.safetensors", EXPERT)

    def test_overlapping_offsets(self):
        def overlap(header):
            header[EXPERT]["data_offsets"] = [o - 2 for o in header[EXPERT]["data_offsets"]]
            return header
        self.refuse(PLAIN, lambda f: f.header(overlap), "model.safetensors")

    def test_wrong_shape(self):
        def reshape(header):
            header[EXPERT]["shape"] = header[EXPERT]["shape"][::-1] if len(set(header[EXPERT]["shape"])) > 1 else [32, 128]
            return header
        self.refuse(PLAIN, lambda f: f.header(reshape), EXPERT, "[64, 64]")

    def test_missing_shard_and_strange_index(self):
        self.refuse(DATA / "uneven", lambda f: (f.path / "model-00002-of-00002.safetensors").unlink(),
                    "model-00002-of-00002.safetensors")
        def outside(folder):
            index = folder.path / "model.safetensors.index.json"
            data = json.loads(index.read_text())
            data["weight_map"] = {k: "../" + v for k, v in data["weight_map"].items()}
            index.write_text(json.dumps(data))
        self.refuse(DATA / "uneven", outside, "../model-0000")

    def test_weights_that_are_not_finite(self):
        for value in (b"\xc0\x7f", b"\x80\x7f", b"\x80\xff"):  # NaN, inf, -inf as bfloat16
            self.refuse(PLAIN, lambda f: f.poke(EXPERT, value), EXPERT, "model.safetensors")

    def test_config(self):
        for changes, word in [
            ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
            ({"num_experts": 1 << 40}, "num_experts"),
            ({"hidden_size": -64}, "hidden_size"),
            ({"vocab_size": 1}, "vocab_size"),
            ({"attention_bias": True}, "attention_bias"),
            ({"rope_scaling": {"type": "yarn"}}, "rope_scaling"),
            ({"moe_layer_freq": [0]}, "moe_layer_freq"),
            ({"shared_expert_intermediate_size": 64}, "shared_expert_intermediate_size"),
            ({"moe_router_enable_expert_bias": True}, "moe_router_enable_expert_bias"),
            ({"hidden_act": "gelu"}, "hidden_act"),
            ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
            ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ]:
            self.refuse(PLAIN, lambda f: f.config(**changes), word, "config.json", ranks=(0,))
        self.refuse(PLAIN, lambda f: (f.path / "config.json").write_text("{"), "config.json")
        self.refuse(PLAIN, lambda f: (f.path / "config.json").unlink(), "config.json")
        with Folder(PLAIN) as folder:
            folder.config(my_new_key=1)
            result = unmask("generate", "--model", folder.path, *ASK)
            self.assertEqual(result.code, 0, result.err)
            self.assertIn("my_new_key", result.err)

    def test_no_folder(self):
        for command in (["generate", *ASK], ["tokenize"], ["info"]):
            result = unmask(command[0], "--model", "/nonexistent/model", *command[1:], stdin="")
            self.assertRefused(result, 3, "/nonexistent/model", "expected a model folder", "nothing there")
        self.assertRefused(unmask("generate", "--model", __file__, *ASK), 3, "expected a model folder", "found another file")

    def test_tensors_beside_the_network_are_named(self):
        with Folder(PLAIN) as folder:
            folder.header(lambda h: {**h, "vision.patch": {"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]}})
            result = unmask("generate", "--model", folder.path, *ASK)
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("vision.patch", result.err)

    def test_no_mask_token(self):
        with Folder(PLAIN) as folder:
            folder.config(mask_token_id="REMOVE")
            self.assertRefused(unmask("generate", "--model", folder.path, *ASK), 3, "--mask-token-id")
            self.assertEqual(unmask("generate", "--model", folder.path, *ASK, "--mask-token-id", 319).code, 0)


class CommandLine(CliTest):
    def test_usage_errors(self):
        for args, word in [
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--gen-length", "0"], "gen-length"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--gen-length", "-5"], "gen-length"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--gen-length", "99999999999999999999"], "gen-length"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--block-length", "0"], "block-length"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--threshold", "nan"], "threshold"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--decoder", "greedy"], "decoder"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--cache", "full"], "cache"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1,x"], "prompt-tokens"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--kernel", "sse9"], "sse9"),
            (["generate", "--model", PLAIN, "--prompt-tokens", "1", "--nonsense"], "--nonsense"),
            (["generate", "--prompt-tokens", "1"], "--model"),
            (["generate", "--model", PLAIN, "--prompt"], "--prompt: expected a value, found none"),
            (["generate", "--model", PLAIN], "--prompt"),
            (["frobnicate"], "frobnicate"),
        ]:
            for ranks in (0, 2):
                with self.subTest(args=args, ranks=ranks):
                    self.assertRefused(unmask(*args, ranks=ranks), 2, word)

    def test_token_outside_vocabulary_and_too_long(self):
        for ranks in (0, 3):
            self.assertRefused(unmask("generate", "--model", PLAIN, "--prompt-tokens", "1,320", "--gen-length", "8", ranks=ranks), 3, "320")
            self.assertRefused(unmask("generate", "--model", PLAIN, "--prompt-tokens", "1", "--gen-length", "256", ranks=ranks), 3, "256")

    def test_keys_and_values_that_cannot_fit(self):
        args = ["generate", "--model", PLAIN, "--prompt-tokens", "1", "--gen-length", "8", "--kv-memory", "100"]
        for ranks in (0, 2):
            self.assertRefused(unmask(*args, ranks=ranks), 3, "--kv-memory", "this rank has 100")
            self.assertEqual(unmask(*args, "--cache", "none", ranks=ranks).code, 0)

    def test_ten_megabyte_prompt(self):
        with tempfile.TemporaryDirectory() as work:
            file = request_file(work, [{"prompt": "a b " * 2_500_000}, {"prompt": "What is 1 plus 1?", "gen_length": 16}])
            result = unmask("generate", "--model", DEMO, "--requests", file, ranks=2)
        self.assertEqual(result.code, 5, result.err)
        self.assertEqual(result.lines[0]["error"]["code"], 3)
        self.assertIn("positions", result.lines[0]["error"]["message"])
        self.assertIn("text", result.lines[1])

    def test_invalid_utf8(self):
        self.assertRefused(unmask("tokenize", "--model", DEMO, stdin=b"good\nbad \xff\xfe\n", text=False), 3)

    def test_what_is_no_token_id(self):
        for line, word in (("1 -1 2", "'-1'"), ("1x", "'1x'"), ("3, 4 99999999999 5", "'99999999999'")):
            self.assertRefused(unmask("detokenize", "--model", DEMO, stdin=line + "\n"), 3, word)

    def assertRefused(self, result, code, *words):
        if isinstance(result.err, bytes):
            result.out, result.err = result.out.decode(errors="replace"), result.err.decode(errors="replace")
        super().assertRefused(result, code, *words)

    def test_block_length_need_not_divide(self):
        result = unmask("generate", "--model", PLAIN, "--prompt-tokens", "5", "--gen-length", "10", "--block-length", "4",
                        "--stop-at-eos", "off", "--json", "--show-steps")
        self.assertEqual(result.code, 0, result.err)
        answer = result.lines[0]
        self.assertEqual(len(answer["tokens"]), 10)
        self.assertEqual({step["block"] for step in answer["trace"]}, {0, 1, 2})

    def test_empty_prompt_is_legal(self):
        with tempfile.TemporaryDirectory() as work:
            result = unmask("generate", "--model", PLAIN, "--requests", request_file(work, [{"prompt_tokens": [], "gen_length": 8}]))
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(len(result.lines[0]["tokens"]), 8)


class Files(CliTest):
    """What is read and written beside the model."""
    def test_logits_into_a_device(self):
        # a named pipe stands for any device: nothing may take its place
        with tempfile.TemporaryDirectory() as work:
            pipe = pathlib.Path(work) / "pipe"
            os.mkfifo(pipe)
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            result = unmask("logits", "--model", PLAIN, "--prompt-tokens", "1,2", "--output", pipe)
            data = os.read(reader, 1 << 16)
            os.close(reader)
            self.assertEqual(result.code, 0, result.err)
            self.assertTrue(pipe.is_fifo())
            length = struct.unpack("<Q", data[:8])[0]
            self.assertEqual(json.loads(data[8 : 8 + length])["logits"]["shape"], [2, 320])
            self.assertEqual(os.listdir(work), ["pipe"])
            self.assertRefused(unmask("logits", "--model", PLAIN, "--prompt-tokens", "1", "--output", work), 6, "a folder")
            self.assertRefused(unmask("logits", "--model", PLAIN, "--prompt-tokens", "1", "--output", work + "/no/x"), 6, "/no/x")

    def test_requests_in_a_folder(self):
        self.assertRefused(unmask("generate", "--model", PLAIN, "--requests", PLAIN), 3, "found a folder")

    def test_closed_standard_descriptors(self):
        for redirection, code, word in (("<&-", 6, "standard input"), (">&-", 6, "standard output")):
            with self.subTest(redirection):
                command = f'"$1" generate --model "$2" --requests - {redirection}'
                done = subprocess.run(["bash", "-c", command, "bash", PROGRAM, PLAIN], input='{"prompt_tokens": [1], "gen_length": 4}\n',
                                      capture_output=True, text=True, timeout=60)
                self.assertRefused(Result(done.returncode, done.stdout, done.stderr), code, word, "Bad file descriptor")


class Requests(CliTest):
    def test_bad_lines_fail_alone(self):
        lines = [
            '{"id": "good", "prompt_tokens": [1, 2, 3], "gen_length": 8}',
            'not json',
            '{"id": "no prompt"}',
            '{"id": "both", "prompt": "a", "prompt_tokens": [1]}',
            '{"id": "unknown", "prompt_tokens": [1], "wobble": 3}',
            '{"id": "twice", "prompt_tokens": [1], "prompt_tokens": [2]}',
            '{"id": "range", "prompt_tokens": [1], "gen_length": 0}',
            '{"id": "huge", "prompt_tokens": [1], "gen_length": 1e300}',
            '{"id": "outside", "prompt_tokens": [320], "gen_length": 8}',
            '{"id": "negative", "prompt_tokens": [-1], "gen_length": 8}',
            '{"id": "long", "prompt_tokens": [1], "gen_length": 4000}',
            '{"id": "guided", "prompt_tokens": [1], "cfg_scale": 100.5}',
            '{"id": "type", "prompt_tokens": "1,2", "gen_length": 8}',
            "[" * 10000 + "]" * 10000,
            '{"id": "last", "prompt_tokens": [3, 2, 1], "gen_length": 8, "stop_at_eos": false}',
        ]
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                result = unmask("generate", "--model", PLAIN, "--requests", "-", stdin="\n".join(lines) + "\n", ranks=ranks)
                self.assertEqual(result.code, 5, result.err)
                self.assertEqual(len(result.lines), len(lines))
                for i, answer in enumerate(result.lines):
                    if i in (0, len(lines) - 1):
                        self.assertEqual(len(answer["tokens"]), 8)
                    else:
                        self.assertIn(answer["error"]["code"], (2, 3), answer)
                        self.assertTrue(answer["error"]["message"])
                self.assertIn("run", result.lines[-1])

    def test_logits_that_are_not_finite_fail_alone(self):
        with Folder(PLAIN) as folder:
            # One channel of the residual stream is 0 for everyone but token 7; behind it, the last norm's weight overflows.
            file = folder.path / "model.safetensors"
            raw = bytearray(file.read_bytes())
            length = struct.unpack("<Q", raw[:8])[0]
            header = json.loads(raw[8 : 8 + length])
            def put(tensor, index, bits):
                at = 8 + length + header[tensor]["data_offsets"][0] + 2 * index
                raw[at : at + 2] = struct.pack("<H", bits)
            for token in range(320):
                put("model.embed_tokens.weight", 64 * token, 0x447A if token == 7 else 0)  # 1000
            for name in ["self_attn.o_proj.weight"] + [f"mlp.experts.{e}.down_proj.weight" for e in range(4)]:
                for column in range(64):
                    put("model.layers.0." + name, column, 0)
            put("model.norm.weight", 0, 0x7F7F)  # 3.4e38
            file.write_bytes(bytes(raw))
            lines = [{"id": "fine", "prompt_tokens": [1, 2]}, {"id": "bad", "prompt_tokens": [1], "mask_token_id": 7},
                     {"id": "fine too", "prompt_tokens": [3], "decoder": "credit"},
                     {"id": "bad credit", "prompt_tokens": [1], "mask_token_id": 7, "decoder": "credit"}]
            for line in lines:
                line["gen_length"] = 8
            for dtype in ("bf16", "f32"):
                args = ["generate", "--model", folder.path, "--dtype", dtype, "--requests", "-"]
                alone = [unmask(*args, stdin=json.dumps(lines[i])).lines[0]["tokens"] for i in (0, 2)]
                for ranks in (0, 2):
                    result = unmask(*args, stdin="\n".join(map(json.dumps, lines)), ranks=ranks)
                    self.assertEqual(result.code, 5, result.err)
                    self.assertEqual([result.lines[i]["tokens"] for i in (0, 2)], alone)
                    for i in (1, 3):
                        self.assertEqual(result.lines[i]["error"]["code"], 3)
                        self.assertIn("not finite", result.lines[i]["error"]["message"])


if __name__ == "__main__":
    unittest.main()
