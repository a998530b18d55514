#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example job scripts under a real Slurm (slurm.py): submitted, preempted, requeued, stopped by their time limit; the answers
are always those of an undisturbed run.

    slurm_lab_test.py [--full]      --full: also preemption with requeue, the time limit, and a job array"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import slurm

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("UNMASK_PROGRAM", str(ROOT / "build/dev/bin/unmask"))
EXAMPLES = ROOT / "examples/slurm"
SKIPPED = 77


def write_requests(path, count):
    cases = json.loads((ROOT / "tests/data/demo/decode.json").read_text())
    path.write_text("".join(json.dumps({"id": f"q{i}", "prompt": cases[i % len(cases)]["question"], "gen_length": 64, "block_length": 16,
                                        "threshold": 0.99}) + "\n" for i in range(count)))


class Lab:
    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.slurm = slurm.Slurm(work)

    def expected(self, requests):
        output = requests.with_suffix(".expected")
        if not output.exists():
            subprocess.run([PROGRAM, "batch", "--model", ROOT / "models/demo", "-i", requests, "-o", output], check=True,
                           stderr=subprocess.DEVNULL, timeout=300)
        return output.read_bytes()

    def submit(self, script, requests, output, *options):
        return self.slurm.submit(EXAMPLES / script, *options, UNMASK=PROGRAM, MODEL=str(ROOT / "models/demo"), INPUT=str(requests),
                                 OUTPUT=str(output))

    def check(self, what, job, codes, requests, output):
        got = self.slurm.wait_for_end(job)
        log = "".join(p.read_text() for p in self.work.glob(f"unmask-{job}*.log"))
        assert all(code == want for code, want in zip(got, codes)), f"{what}: exit codes {got}\n{log}\n{self.slurm.logs()}"
        for one, other in zip(requests, output):
            assert other.read_bytes() == self.expected(one), f"{what}: the answers differ\n{log}"
        print(f"PASS {what}", flush=True)
        return log

    def short(self):
        requests = self.work / "few.jsonl"
        write_requests(requests, 100)
        for script in ("single_node.sbatch", "several_nodes.sbatch", "preemptible.sbatch"):
            output = self.work / f"{script}.jsonl"
            job = self.submit(script, requests, output)
            log = self.check(f"{script}: submitted and answered", job, ["0:0"], [requests], [output])
            ranks = 2
            assert f"rank {ranks - 1}:" in log and f"rank {ranks}:" not in log, f"{script} should run {ranks} ranks:\n{log}"

    def array(self):
        parts = [self.work / f"part_{i}.jsonl" for i in range(4)]
        for i, part in enumerate(parts):
            write_requests(part, 20 + i)
        job = self.submit("array.sbatch", self.work / "part", self.work / "done", "--array=0-3")
        self.check("array.sbatch: four parts", job, ["0:0"] * 4, parts, [self.work / f"done_{i}.jsonl" for i in range(4)])

    def until_answers(self, output):
        self.slurm.wait_for(lambda: output.exists() and output.stat().st_size > 0, 60, "the first answers")

    def start_again(self, job):
        """Slurm would wait two minutes; but a job that starts within the second of its requeue is refused by the nodes."""
        time.sleep(4)
        self.slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)

    def preempted(self):
        requests, output = self.work / "many.jsonl", self.work / "preempted.jsonl"
        write_requests(requests, 6000)
        job = self.submit("preemptible.sbatch", requests, output)
        self.until_answers(output)
        urgent = self.work / "urgent.sh"
        urgent.write_text("#!/bin/bash\nsleep 3\n")
        other = self.slurm.submit(urgent, "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null")
        self.slurm.wait_for(lambda: int(self.slurm.show(job)[0]["Restarts"]) >= 1, 60, "the requeue")
        at_requeue = output.stat().st_size
        assert at_requeue < len(self.expected(requests)), "the job was done before it was preempted: give it more requests"
        self.slurm.wait_for_end(other)
        self.start_again(job)
        log = self.check("preemptible.sbatch: preempted, requeued, finished", job, ["0:0"], [requests], [output])
        assert "run number 2" in log, log
        assert output.stat().st_size > at_requeue

    def time_limit(self):
        """The signal that Slurm sends before the limit, sent by hand: its own comes up to a minute early."""
        requests, output = self.work / "many.jsonl", self.work / "limited.jsonl"
        write_requests(requests, 6000)
        job = self.submit("several_nodes.sbatch", requests, output)
        self.until_answers(output)
        begin = time.monotonic()
        self.slurm.call("scancel", "--signal=USR1", job)
        self.slurm.wait_for(lambda: int(self.slurm.show(job)[0]["Restarts"]) >= 1, 60, "the requeue by the script")
        print(f"     stopped and requeued within {time.monotonic() - begin:.1f} s", flush=True)
        self.start_again(job)
        log = self.check("several_nodes.sbatch: stopped by USR1 with 75, requeued, finished", job, ["0:0"], [requests], [output])
        assert "ended with 75" in log, log


def main():
    if reason := slurm.missing():
        print(f"SKIPPED: {reason}", file=sys.stderr)
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="batch_slurm_") as work:
        lab = Lab(work)
        try:
            lab.short()
            if "--full" in sys.argv[1:]:
                lab.array()
                lab.preempted()
                lab.time_limit()
        finally:
            lab.slurm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
