#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--dtype int8|int4 from outside: the same tokens in any layout, memory as announced, right answers of the demo."""
import json
import tempfile
import unittest

from unmask_cli import DATA, DEMO, CliTest, decode_cases, request_file, unmask

DEMO_CASES = json.loads((DATA / "demo/decode.json").read_text())


def answers(result):
    return {a["id"]: (a["tokens"], a["passes"]) for a in result.lines}


class Quantised(CliTest):
    def generate(self, folder, requests, *options, ranks=0):
        with tempfile.TemporaryDirectory() as work:
            result = unmask("generate", "--model", folder, "--requests", request_file(work, requests), *options, ranks=ranks)
        self.assertEqual(result.code, 0, result.err)
        return result

    def test_same_tokens_in_any_layout(self):
        for name, dtype in (("wide", "int8"), ("uneven", "int8"), ("plain", "int8"), ("wide", "int4")):
            requests = [request for request, _ in decode_cases(name)]
            first = None
            for ranks, options in ((1, ["--threads", "1"]), (2, ["--threads", "1"]), (3, ["--threads", "3"]), (4, ["--threads", "1"]),
                                   (0, ["--transport", "threads:4", "--threads", "2"])):
                with self.subTest(name=name, dtype=dtype, ranks=ranks):
                    result = self.generate(DATA / name, requests, "--dtype", dtype, *options, ranks=ranks)
                    first = first or answers(result)
                    self.assertEqual(answers(result), first)
                    self.assertEqual(result.lines[-1]["run"]["dtype"], dtype)

    def test_every_kernel_family_takes_them(self):
        kernels = [k["name"] for k in json.loads(unmask("info", "--json").out)["kernels"] if k["supported"]]
        self.assertIn("portable", kernels)
        for kernel in kernels:
            for dtype in ("int8", "int4"):
                with self.subTest(kernel=kernel, dtype=dtype):
                    result = self.generate(DATA / "wide", [decode_cases("wide")[0][0]], "--dtype", dtype, "--kernel", kernel)
                    self.assertEqual(result.lines[-1]["run"]["kernel"], kernel)

    def test_the_demo_loses_at_most_one_answer_to_int8(self):
        requests = [{"id": f"q{i}", "prompt": c["question"], "gen_length": 48, "block_length": 16} for i, c in enumerate(DEMO_CASES)]
        right = {}
        for dtype in ("bf16", "int8", "int4"):
            result = self.generate(DEMO, requests, "--dtype", dtype)
            right[dtype] = sum(a["text"] == c["answer"] for a, c in zip(result.lines, DEMO_CASES))
        self.assertGreaterEqual(right["int8"], right["bf16"] - 1, right)
        self.assertGreaterEqual(right["int4"], right["bf16"] * 2 // 3, right)

    def test_info_announces_the_bytes(self):
        held = {}
        for dtype in ("bf16", "int8", "int4"):
            info = json.loads(unmask("info", "--model", DEMO, "--ranks", 2, "--dtype", dtype, "--json").out)
            self.assertEqual(info["expert_weights"], dtype)
            held[dtype] = info["bytes_per_rank"]
        config = json.loads((DEMO / "config.json").read_text())
        values = config["num_hidden_layers"] * config["num_experts"] // 2 * 3 * config["hidden_size"] * config["expert_intermediate_size"]
        blocks = values // 16  # values of one output, in blocks of 128 (int8) and 64 (int4) inputs behind 64 bytes of scales
        for dtype, per_value in (("int8", 1 + 64 / (16 * 128)), ("int4", 0.5 + 64 / (16 * 64))):
            self.assertGreater(blocks, 0)
            least = held["bf16"][0] - 2 * values + int(values * per_value)
            self.assertGreaterEqual(held[dtype][0], least)
            self.assertLess(held[dtype][0], held["bf16"][0])


if __name__ == "__main__":
    unittest.main()
