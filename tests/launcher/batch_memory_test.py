#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streams requests of one token each through a batch job and looks at rank 0's memory: flat, but for 32 bytes a custom_id. Then
long stop texts behind a slow request: what is read ahead is bounded in bytes, whichever field they are in.

    batch_memory_test.py [--requests N] [--ranks R] [--samples FILE]

The short form, without arguments, is part of the tests; the long one is --requests 1000000. --samples: a line (answers, bytes) each second."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from batch_kill_test import ranks_of, size
from unmask_cli import DEMO, MPIRUN, PROGRAM

MOST_BYTES, ID_BYTES = 200e6, 32  # above the model


def write_requests(pipe, count):
    """In blocks, so that not Python is what is measured; every id is another one."""
    for begin in range(0, count, 1000):
        pipe.write("".join(f'{{"custom_id": "request-{i:07}", "method": "POST", "url": "/v1/completions", "body": '
                           f'{{"prompt": [{300 + i % 200}], "max_tokens": 1}}}}\n' for i in range(begin, min(begin + 1000, count))))
    pipe.close()


def resident_bytes(pid, what="VmRSS"):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Job:
    """A whole run; its samples are (bytes of output, resident bytes of rank 0)."""

    def __init__(self, work, count, ranks, period):
        output, summary, log = work / "out.jsonl", work / "summary.json", work / "log"
        launch = [*MPIRUN, "-n", str(ranks)] if ranks else []
        command = [*launch, PROGRAM, "batch", "--model", DEMO, "-i", "-", "-o", output, "--restart", "--summary", summary]
        self.samples = []
        begin = time.monotonic()
        with open(log, "w") as errors:
            job = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, text=True, stderr=errors)
        writer = threading.Thread(target=write_requests, args=(job.stdin, count))
        writer.start()
        while job.poll() is None:
            time.sleep(period)
            pids = ranks_of(job) if ranks else [job.pid]
            if pids and (bytes_now := resident_bytes(pids[0])):
                self.samples.append((size(output), bytes_now))
        writer.join()
        self.seconds = time.monotonic() - begin
        assert job.returncode == 0, log.read_text()[-3000:]
        summary = json.loads(summary.read_text())
        assert (summary["answers"], summary["failed"]) == (count, 0), summary
        with open(output) as answers:
            for i, line in enumerate(answers):
                assert f'"request-{i:07}"' in line, f"answer {i} is {line[:200]}"
        assert i + 1 == count, f"{i + 1} answers, expected {count}"
        self.peak = summary["this_run"]["ranks"][0]["peak_memory_bytes"]
        self.line_bytes = size(output) / count


def read_ahead_peak(work, count=100, text_bytes=2_000_000):
    """Peak of a process whose first request takes longer than the input's reading."""
    slow = {"prompt": "hi", "gen_length": 480, "block_length": 480, "decoder": "steps", "steps": 480, "cache": "none", "stop_at_eos": False}
    source = work / "long.jsonl"
    with open(source, "w") as lines:
        for _ in range(count):
            lines.write(json.dumps({**slow, "stop": "x" * text_bytes}) + "\n")
    command = [PROGRAM, "batch", "--model", DEMO, "-i", source, "-o", work / "long.out", "--reorder-window", "1", "--max-time", "6"]
    with open(work / "log", "w") as errors:
        job = subprocess.Popen(list(map(str, command)), stderr=errors)
    peak = 0
    while job.poll() is None:
        time.sleep(0.05)
        peak = max(peak, resident_bytes(job.pid, "VmHWM"))
    assert job.returncode == 75, (work / "log").read_text()[-3000:]
    return peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=40000)
    parser.add_argument("--ranks", type=int, default=0)
    parser.add_argument("--samples", type=pathlib.Path)
    arguments = parser.parse_args()
    model = sum(file.stat().st_size for file in DEMO.glob("*.safetensors"))
    with tempfile.TemporaryDirectory(prefix="batch_memory_") as folder:
        work = pathlib.Path(folder)
        few = Job(work, arguments.requests // 4, arguments.ranks, 0.1)
        all_of_them = Job(work, arguments.requests, arguments.ranks, 1.0 if arguments.samples else 0.1)
        long_texts = read_ahead_peak(work) - model
    above = all_of_them.peak - model
    slope = (all_of_them.peak - few.peak) / (arguments.requests - arguments.requests // 4)
    print(f"{arguments.requests} requests in {all_of_them.seconds:.0f} s: rank 0 took {above / 1e6:.1f} MB above the model, "
          f"{slope:.1f} bytes more a request than with a quarter of them; {long_texts / 1e6:.1f} MB with long stop texts", flush=True)
    if arguments.samples:
        arguments.samples.write_text("".join(f"{output / all_of_them.line_bytes:.0f} {memory}\n" for output, memory in all_of_them.samples))
    assert above <= MOST_BYTES + ID_BYTES * arguments.requests, "too much memory"
    assert long_texts <= MOST_BYTES, "too much is read ahead"
    return 0


if __name__ == "__main__":
    sys.exit(main())
