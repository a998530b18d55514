#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast `unmask batch` answers requests beside `unmask bench generate`, which reads no lines and writes no answers.

    batch_throughput.py --unmask build/release/bin/unmask [--model DIR] [--requests FILE] [--pairs 7] [--ranks 1,2,3] [-- options of both]

The two take turns on the same requests, with the same options, each in a process of its own; as many requests run at a time as
--max-rows lets in. A line per rank count: medians of the seconds from the first step to the last, of the paired ratios
(batch / bench, above 1: batch is slower) and of batch's seconds outside the steps. Without --requests: 2,000 of the demo's questions."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]


def demo_requests(path, count):
    cases = json.loads((ROOT / "tests/data/demo/decode.json").read_text())
    path.write_text("".join(json.dumps({"id": f"q{i}", "prompt": cases[i % len(cases)]["question"], "gen_length": 48,
                                        "block_length": 16}) + "\n" for i in range(count)))


class Pair:
    def __init__(self, arguments, more, work, ranks):
        launch = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
        self.program = [*launch, arguments.unmask]
        self.model, self.requests, self.work, self.more = arguments.model, arguments.requests, work, more

    def run(self, *args):
        begin = time.monotonic()
        done = subprocess.run([*self.program, *map(str, args), "--model", str(self.model), *self.more], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.args} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout, time.monotonic() - begin

    def bench(self):
        record = json.loads(self.run("bench", "generate", "--requests", self.requests, "--concurrency", 1 << 20, "-o", "json")[0])[0]
        return record["median_ms"] / 1000, record["tokens"]

    def batch(self):
        answers, summary = self.work / "answers.jsonl", self.work / "summary.json"
        whole = self.run("batch", "-i", self.requests, "-o", answers, "--restart", "--summary", summary)[1]
        run = json.loads(summary.read_text())["this_run"]
        return run["seconds"], run["text_tokens"], whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unmask", default="unmask")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/demo")
    parser.add_argument("--requests", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--ranks", default="1,2,3")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    arguments = parser.parse_args(own)
    with tempfile.TemporaryDirectory() as holder:
        work = pathlib.Path(holder)
        if arguments.requests is None:
            arguments.requests = work / "requests.jsonl"
            demo_requests(arguments.requests, arguments.count)
        for ranks in map(int, arguments.ranks.split(",")):
            pair = Pair(arguments, more, work, ranks)
            runs = []
            for i in range(arguments.pairs):
                first = pair.batch() if i % 2 else None  # neither is always the one that finds the machine warm
                bench = pair.bench()
                batch = first or pair.batch()
                if bench[1] != batch[1]:
                    sys.exit(f"bench generate made {bench[1]} tokens, batch {batch[1]}")
                runs.append((bench[0], batch[0], batch[0] / bench[0], batch[2] - batch[0]))
            bench, batch, ratio, outside = (statistics.median(column) for column in zip(*runs))
            ratios = sorted(run[2] for run in runs)
            print(f"{ranks} ranks: bench generate {bench:.3f} s, batch {batch:.3f} s, batch / bench {ratio:.3f} ({ratios[0]:.3f} to "
                  f"{ratios[-1]:.3f}), batch outside the steps {outside:.2f} s", flush=True)


if __name__ == "__main__":
    main()
