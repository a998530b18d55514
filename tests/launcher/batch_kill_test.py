#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a batch job at random instants (a rank, mpirun, rank 0, rank 0 while it writes) and resumes it on other rank counts
until it is done: every time the file must be byte for byte that of a run that nobody disturbed, which answers as generate does.

    batch_kill_test.py [--kills N] [--requests N] [--seed S] [--seconds MOST]

The short form, without arguments, is part of the tests; the long one is --kills 200 --requests 2000."""
import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from unmask_cli import DEMO, MPIRUN, PROGRAM, decode_cases, unmask

VICTIMS = ("rank", "mpirun", "rank 0", "rank 0 while it writes")


def questions(count, seed):
    r = random.Random(seed)
    cases = [case["question"] for _, case in decode_cases("demo")]
    return [{"id": f"q{i}", "prompt": r.choice(cases), "gen_length": r.choice((16, 32, 64)), "block_length": 16,
             "threshold": r.choice((0.5, 0.9, 0.99))} for i in range(count)]


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def ranks_of(job):
    """The processes of the ranks, rank 0 first."""
    found = {}
    for pid in children(job.pid):
        try:
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for entry in environment:
            if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[int(entry.split(b"=")[1])] = pid
    return [found[r] for r in sorted(found)]


def size(path):
    return path.stat().st_size if path.exists() else 0


class Killer:
    def __init__(self, work, requests, seed):
        self.random = random.Random(seed)
        self.input, self.output = work / "in.jsonl", work / "out.jsonl"
        self.input.write_text("".join(json.dumps(q) + "\n" for q in requests))
        self.reference = work / "reference.jsonl"
        self.log = work / "log"
        self.kills = {victim: 0 for victim in VICTIMS}
        self.lost = 0
        begin = time.monotonic()
        done = self.run(3, self.reference).wait()
        self.whole_seconds = time.monotonic() - begin
        assert done == 0, self.log.read_text()[-3000:]
        self.expected = self.reference.read_bytes()

    def run(self, ranks, output):
        command = [*MPIRUN, "-n", str(ranks), PROGRAM, "batch", "--model", DEMO, "-i", self.input, "-o", output, "--sync-every", "50"]
        with open(self.log, "w") as log:
            return subprocess.Popen(list(map(str, command)), stderr=log, stdout=log)

    def kill(self, job, victim, delay):
        begin = size(self.output)
        end = time.monotonic() + delay
        while time.monotonic() < end and job.poll() is None:
            time.sleep(0.002)
        if victim == VICTIMS[3]:  # wait for growth: then a write has just been, and the next is near
            begin = size(self.output)
            while job.poll() is None and size(self.output) == begin:
                pass
        ranks = ranks_of(job)
        if job.poll() is not None or not ranks:
            return False
        pid = {"rank": self.random.choice(ranks), "mpirun": job.pid}.get(victim, ranks[0])
        os.kill(pid, signal.SIGKILL)
        job.wait()
        self.kills[victim] += 1
        return True

    def attempt(self):
        """One job from its beginning to its end; returns how often it was killed."""
        self.output.unlink(missing_ok=True)
        pathlib.Path(f"{self.output}.journal").unlink(missing_ok=True)
        kills = 0
        while True:
            begin = time.monotonic()
            job = self.run(self.random.choice((1, 2, 3, 3, 3, 4)) if kills else 3, self.output)
            victim = self.random.choice(VICTIMS)
            kept = size(self.output)
            if kills < 8 and self.kill(job, victim, self.random.uniform(0.1, 0.3 + 0.7 * self.whole_seconds)):
                kills += 1
                now = size(self.output)
                assert now >= kept - 65536, f"answers were lost: {kept} bytes, then {now}"
                continue
            code = job.wait()
            assert code == 0, f"exit code {code}: {self.log.read_text()[-3000:]}"
            if kills == 0:  # how long a whole job takes changes with the machine's other load; kills are to fall into it
                self.whole_seconds = min(self.whole_seconds, time.monotonic() - begin)
            got = self.output.read_bytes()
            assert got == self.expected, f"after {kills} kills the answers differ: {len(got)} bytes, expected {len(self.expected)}"
            return kills

    def check_against_generate(self):
        result = unmask("generate", "--model", DEMO, "--requests", self.input, ranks=2)
        assert result.code == 0, result.err
        answers = [{k: v for k, v in line.items() if k != "run"} for line in result.lines]
        assert answers == [json.loads(line) for line in self.expected.splitlines()], "generate answers otherwise"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop beginning new jobs after so long")
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="batch_kill_") as work:
        killer = Killer(pathlib.Path(work), questions(arguments.requests, arguments.seed), arguments.seed)
        killer.check_against_generate()
        jobs = 0
        while sum(killer.kills.values()) < arguments.kills and time.monotonic() - begin < arguments.seconds:
            killer.attempt()
            jobs += 1
    kills = sum(killer.kills.values())
    print(f"{jobs} jobs of {arguments.requests} requests ({killer.whole_seconds:.1f} s undisturbed), {kills} kills {killer.kills}: "
          f"all byte for byte the same, {time.monotonic() - begin:.0f} s")
    return 0 if kills >= min(arguments.kills, 1) else 1


if __name__ == "__main__":
    sys.exit(main())
