#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The promise, seen from outside: the same tokens for any ranks, transport, threads, batch and order; right ones in float32."""
import json
import pathlib
import random
import tempfile
import unittest

from unmask_cli import DATA, DEMO, CliTest, decode_cases, request_file, unmask

PERMUTED = ["--placement", "permuted"]  # a file with experts dealt to ranks at random
LAYOUTS = [  # (mpirun ranks, further options)
    (1, ["--threads", "1"]),
    (2, ["--threads", "1"]),
    (1, ["--threads", "2", "--micro-batches", "2"]),
    (2, ["--threads", "1", "--micro-batches", "2", "--exchange", "direct", "--message-bytes", "1"]),
    (2, ["--threads", "2", "--overlap", "off", *PERMUTED]),
    (3, ["--threads", "3", "--exchange", "allgather", *PERMUTED]),
    (4, ["--threads", "1", "--exchange", "allgather", "--overlap", "off"]),
    (5, ["--threads", "1", "--message-bytes", "1", "--exchange", "direct"]),  # in as many chunks as there can be
    (5, ["--threads", "2", "--overlap", "off", *PERMUTED]),
    (5, ["--threads", "1", "--micro-batches", "2", "--exchange", "allgather"]),
    (8, ["--threads", "1"]),
    (8, ["--threads", "1", "--message-bytes", "1", "--exchange", "direct", *PERMUTED]),
    (8, ["--threads", "1", "--micro-batches", "2", "--overlap", "off", *PERMUTED]),
    (13, ["--threads", "1"]),
    (0, ["--transport", "threads:3", "--threads", "2", "--micro-batches", "2", *PERMUTED]),
    (0, ["--transport", "threads:1", "--threads", "3"]),
    (0, ["--transport", "threads:4", "--threads", "1", "--overlap", "off"]),
    (0, ["--transport", "threads:5", "--threads", "2", "--message-bytes", "1", "--exchange", "direct", *PERMUTED]),
    (0, ["--transport", "threads:13", "--threads", "1"]),
]


def num_ranks(ranks, options):
    return int(options[1].removeprefix("threads:")) if "--transport" in options else max(ranks, 1)


def with_placement(folder, work, ranks, options):
    """The options with a file for the word `permuted`."""
    if "permuted" not in options:
        return options
    count = num_ranks(ranks, options)
    owners = [expert % count for expert in range(json.loads((folder / "config.json").read_text())["num_experts"])]
    random.Random(count).shuffle(owners)
    file = pathlib.Path(work) / "placement.json"
    file.write_text(json.dumps(owners))
    return [str(file) if option == "permuted" else option for option in options]


def answers(result):
    return {a["id"]: (a["tokens"], a["passes"], a["rows"], a["finish_reason"]) for a in result.lines}


class Layouts(CliTest):
    def generate(self, folder, requests, ranks, options):
        with tempfile.TemporaryDirectory() as work:
            result = unmask("generate", "--model", folder, "--requests", request_file(work, requests),
                            *with_placement(folder, work, ranks, options), ranks=ranks)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual([a["id"] for a in result.lines], [r["id"] for r in requests], "answers come in input order")
        return result

    def test_golden_cases_in_every_layout(self):
        for name in ("wide", "uneven", "plain"):
            cases = decode_cases(name)
            self.assertGreaterEqual(len(cases), 40)
            right = {request["id"]: (case["tokens"], case["passes"], case["rows"]) for request, case in cases}
            requests = [request for request, _ in cases]
            for dtype in ("f32", "bf16"):
                first = None
                for ranks, options in LAYOUTS:
                    with self.subTest(name=name, dtype=dtype, ranks=ranks, options=options):
                        random.Random(len(options)).shuffle(requests)
                        result = self.generate(DATA / name, requests, ranks, [*options, "--dtype", dtype])
                        first = first or answers(result)
                        self.assertEqual(answers(result), first)
                        run = result.lines[-1]["run"]
                        count = run["ranks"]
                        self.assertEqual(run["wire_bytes"] > 0, count > 1)
                        self.assertEqual(len(run["bytes_read"]), count)
                        if name == "wide" and 1 < count <= 8 and "permuted" not in options:  # no group of it is split
                            self.assertLess(run["exchange"]["minimum_bytes"], run["exchange"]["naive_bytes"])
                        if dtype == "f32":
                            self.assertEqual({a["id"]: (a["tokens"], a["passes"], a["rows"]) for a in result.lines}, right)

    def test_alone_among_seven_and_sixty_in_any_order(self):
        pool = [request for name in ("wide",) for request, _ in decode_cases(name)]
        pool = [dict(r, id=f"{r['id']}-{n}", prompt_tokens=r["prompt_tokens"][n % 3 :]) for n in range(2) for r in pool]
        self.assertGreaterEqual(len(pool), 60)
        pool = pool[:60]
        whole = answers(self.generate(DATA / "wide", pool, 2, ["--threads", "1"]))
        shuffled = pool[:]
        random.Random(4).shuffle(shuffled)
        self.assertEqual(answers(self.generate(DATA / "wide", shuffled, 3, ["--max-rows", "200"])), whole)
        seven = shuffled[:7]
        self.assertEqual(answers(self.generate(DATA / "wide", seven, 0, [])), {r["id"]: whole[r["id"]] for r in seven})
        for request in shuffled[:3]:
            self.assertEqual(answers(self.generate(DATA / "wide", [request], 0, []))[request["id"]], whole[request["id"]])

    def test_kernel_families(self):
        requests = [request for request, _ in decode_cases("uneven")]
        for kernel in ("portable", "avx2", "avx512"):
            with self.subTest(kernel=kernel):
                with tempfile.TemporaryDirectory() as work:
                    result = unmask("generate", "--model", DATA / "uneven", "--requests", request_file(work, requests), "--dtype",
                                    "f32", "--kernel", kernel)
                if result.code == 2 and "does not have" in result.err:
                    self.skipTest(f"this processor lacks {kernel}")
                self.assertEqual(result.code, 0, result.err)
                self.assertEqual(result.lines[-1]["run"]["kernel"], kernel)
                for (_, case), answer in zip(decode_cases("uneven"), result.lines):
                    self.assertEqual(answer["tokens"], case["tokens"])


class Demo(CliTest):
    def test_sixty_questions(self):
        cases = [(r, c) for r, c in decode_cases("demo") if (c["options"]["decoder"], c["options"]["cache"]) == ("threshold", "dual")]
        self.assertEqual(len(cases), 60)
        requests = [{**{k: v for k, v in r.items() if k != "prompt_tokens"}, "prompt": c["question"]} for r, c in cases]
        right, tokens = {}, {}
        layouts = (("f32", 2, []), ("bf16", 2, []), ("bf16", 0, []), ("bf16", 3, ["--threads", "1", "--micro-batches", "2"]), ("bf16", 5, ["--threads", "1", "--overlap", "off", *PERMUTED]),
                   ("bf16", 8, ["--threads", "1", "--exchange", "direct", "--message-bytes", "1"]))
        for dtype, ranks, options in layouts:
            with tempfile.TemporaryDirectory() as work:
                result = unmask("generate", "--model", DEMO, "--requests", request_file(work, requests), "--dtype", dtype,
                                *with_placement(DEMO, work, ranks, options), ranks=ranks)
            self.assertEqual(result.code, 0, result.err)
            self.assertEqual(tokens.setdefault(dtype, [a["tokens"] for a in result.lines]), [a["tokens"] for a in result.lines], (ranks, options))
            for (_, case), answer in zip(cases, result.lines):
                self.assertEqual(answer["prompt_tokens"], case["prompt"])
                if dtype == "f32":
                    self.assertEqual((answer["tokens"], answer["passes"], answer["text"]), (case["tokens"], case["passes"], case["text"]))
            right[dtype, ranks] = sum(a["text"] == c["answer"] for (_, c), a in zip(cases, result.lines))
        self.assertEqual(right["bf16", 0], right["bf16", 2])
        self.assertLessEqual(abs(right["f32", 2] - right["bf16", 0]), 2, right)


if __name__ == "__main__":
    unittest.main()
