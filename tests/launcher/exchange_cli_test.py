#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The exchange seen from outside: placements from a file, traces, recorded routing and its replay, the benchmarks' records."""
import json
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from unmask_cli import DATA, ROOT, CliTest, decode_cases, request_file, unmask


def tokens(result):
    return [line["tokens"] for line in result.lines]


class Exchange(CliTest):
    def generate(self, work, ranks, *options):
        requests = [request for request, _ in decode_cases("wide")[:12]]
        result = unmask("generate", "--model", DATA / "wide", "--requests", request_file(work, requests), "--threads", "1", *options,
                        ranks=ranks)
        self.assertEqual(result.code, 0, result.err)
        return result

    def test_permuted_placement_with_and_without_overlap(self):
        with tempfile.TemporaryDirectory() as work:
            first = self.generate(work, 1)
            experts = json.loads((DATA / "wide/config.json").read_text())["num_experts"]
            for ranks in (2, 3):
                owners = [e % ranks for e in range(experts)]
                random.Random(ranks).shuffle(owners)
                placement = Path(work) / "placement.json"
                placement.write_text(json.dumps(owners))
                for options in (["--overlap", "off"], ["--message-bytes", "1"], ["--exchange", "allgather"]):
                    with self.subTest(ranks=ranks, options=options):
                        got = self.generate(work, ranks, "--placement", placement, *options)
                        self.assertEqual(tokens(got), tokens(first))

    def test_info_shows_the_links_and_the_choice(self):
        self.assertNotIn("links", json.loads(unmask("info", "--json").out))
        links = json.loads(unmask("info", "--json", "--model", DATA / "wide", ranks=2).out)["links"]
        hidden = json.loads((DATA / "wide/config.json").read_text())["hidden_size"]
        self.assertEqual(links["ranks"], 2)
        self.assertGreater(links["latency_us"], 0)
        self.assertGreater(links["gigabytes_per_second"], 0)
        self.assertIn(f"rows of {hidden} bf16 values: rows travel ", links["exchange"])

    def test_fast_combine_returns_fewer_bytes(self):
        with tempfile.TemporaryDirectory() as work:
            exact = self.generate(work, 2, "--exchange", "direct").lines[-1]["run"]
            fast = self.generate(work, 2, "--exchange", "direct", "--combine", "fast").lines[-1]["run"]
            self.assertLess(fast["exchange"]["minimum_bytes"], exact["exchange"]["minimum_bytes"])

    def test_trace_has_a_process_per_rank_and_every_track(self):
        with tempfile.TemporaryDirectory() as work:
            for micro_batches in ("1", "2"):
                file = Path(work) / "trace.json"
                self.generate(work, 3, "--trace", file, "--message-bytes", "1", "--exchange", "direct", "--micro-batches", micro_batches)
                events = json.loads(file.read_text())["traceEvents"]
                spans = [e for e in events if e["ph"] == "X"]
                self.assertEqual({e["pid"] for e in spans}, {0, 1, 2})
                self.assertEqual({e["tid"] for e in spans}, {0, 1, 2, 3, 4})
                self.assertEqual({e["args"]["name"].split(" (")[0] for e in events if e["name"] == "process_name"}, {"rank 0", "rank 1", "rank 2"})
                self.assertLessEqual({"experts", "wait for rows", "give back", "sum"}, {e["name"] for e in spans})
                self.assertGreaterEqual(min(e["ts"] for e in spans), 0)
                picture = Path(work) / "layer.svg"
                subprocess.run([sys.executable, ROOT / "scripts/trace_picture.py", file, picture, "--layers", micro_batches], check=True)
                self.assertIn("rank 2", picture.read_text())
                by_track = {}
                for e in spans:
                    by_track.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
                for track, found in by_track.items():
                    found.sort()
                    for (_, end), (begin, _) in zip(found, found[1:]):
                        self.assertLessEqual(end, begin + 0.01, f"spans of track {track} overlap")

    def test_recorded_routing_is_replayed(self):
        with tempfile.TemporaryDirectory() as work:
            file = Path(work) / "routing.jsonl"
            self.generate(work, 2, "--record-routing", file)
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            self.assertEqual({line["rank"] for line in lines}, {0, 1})
            config = json.loads((DATA / "wide/config.json").read_text())
            shape = ["--experts", str(config["num_experts"]), "--top-k", str(config["num_experts_per_tok"]), "--hidden", "64"]
            result = unmask("bench", "exchange", *shape, "--skew", file, "--tokens", "9", "--repeat", "2", "-o", "json", ranks=2)
            self.assertEqual(result.code, 0, result.err)
            self.assertEqual(json.loads(result.out)[0]["wrong_rows"], 0)
            result = unmask("bench", "exchange", *shape[:2], "--top-k", "1", "--skew", file, ranks=2)
            self.assertEqual(result.code, 3)
            self.assertIn("expected rank, top_k 1", result.err)

    def test_bench_exchange_for_every_skew_and_algorithm(self):
        for ranks in (1, 2, 4):
            for skew in ("uniform", "zipf", "4"):
                for algorithm in ("direct", "allgather"):
                    for combine in ("exact", "fast") if skew == "4" else ("exact",):
                        with self.subTest(ranks=ranks, skew=skew, algorithm=algorithm, combine=combine):
                            result = unmask("bench", "exchange", "--hidden", "64", "--tokens", "0,1,40", "--skew", skew, "--exchange", algorithm,
                                            "--combine", combine, "--repeat", "2", "--message-bytes", "500", "-o", "json", ranks=ranks)
                            self.assertEqual(result.code, 0, result.err)
                            for record in json.loads(result.out):
                                self.assertEqual(record["wrong_rows"], 0)
                                self.assertTrue(record["checked"])
                                self.assertGreaterEqual(record["wire_bytes"], record["minimum_bytes"])
                                if ranks > 1 and record["case"]["tokens"] > 0:
                                    self.assertEqual(record["algorithm"], algorithm)

    def test_wire_bytes_are_near_the_minimum(self):
        for combine in ("exact", "fast"):
            result = unmask("bench", "exchange", "--tokens", "32", "--exchange", "direct", "--combine", combine, "--repeat", "1", "-o", "json",
                            ranks=2)
            record = json.loads(result.out)[0]
            self.assertLessEqual(record["wire_bytes"], 1.03 * record["minimum_bytes"])

    def test_bench_moe_compares_bits_and_fills_its_fields(self):
        with tempfile.TemporaryDirectory() as work:
            file = Path(work) / "trace.json"
            result = unmask("bench", "moe", "--hidden", "64", "--width", "32", "--experts", "16", "--top-k", "4", "--tokens", "24", "--repeat",
                            "2", "--message-bytes", "1", "--exchange", "direct", "--trace", file, "-o", "json", ranks=2)
            self.assertEqual(result.code, 0, result.err)
            record = json.loads(result.out)[0]
            for field in ("compute_ms", "compute_share", "exchange_ms", "exchange_cpu_ms", "sequential_ms", "overlapped_ms"):
                self.assertGreater(record[field], 0, field)
            self.assertIn("hidden_fraction", record)
            self.assertGreater(record["chunks"], 1)
            self.assertTrue(record["checked"])
            self.assertIn("experts", {e["name"] for e in json.loads(file.read_text())["traceEvents"]})


if __name__ == "__main__":
    unittest.main()
