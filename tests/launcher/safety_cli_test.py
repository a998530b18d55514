#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks that are stopped or killed on one host, guards that are killed, readers that are slow. More hosts: tests/lab/faults."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

from unmask_cli import DEMO, MPIRUN, PROGRAM, CliTest, request_file, unmask

REQUESTS = [{"id": str(i), "prompt_tokens": [5, 6, 7], "gen_length": 128, "decoder": "steps", "cache": "none", "stop_at_eos": False}
            for i in range(20000)]


def children(pid):
    """{pid: parent} of all living descendants."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if fields[0] not in "ZX":
                parents[int(stat.parent.name)] = int(fields[1])
        except OSError:
            pass
    found, new = {}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new and child not in found}
        found |= {child: parents[child] for child in new}
    return found


class Safety(CliTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def start(self, *options, ranks=2):
        """A job of minutes, and its ranks with their guards {rank: guard}, once the first answer is there."""
        job = subprocess.Popen([*MPIRUN, "-n", str(ranks), PROGRAM, "generate", "--model", DEMO, "--threads", "1", "--max-rows", "200", *options,
                                "--requests", request_file(self.folder.name, REQUESTS)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder.name)
        self.addCleanup(job.stdout.close)
        self.assertIn('"tokens"', job.stdout.readline())
        below = children(job.pid)
        guards = {parent: child for child, parent in below.items() if parent != job.pid}
        self.assertEqual(len(guards), ranks)
        return job, guards

    def end(self, job, guards, limit):
        begin = time.monotonic()
        _, errors = job.communicate(timeout=60)
        while (left := [pid for pid in [*guards, *guards.values()] if pathlib.Path(f"/proc/{pid}/stat").exists()
                        and pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"]) and time.monotonic() < begin + 20:
            time.sleep(0.05)
        self.assertEqual(left, [])
        self.assertLess(time.monotonic() - begin, limit)
        return job.returncode, errors

    def test_a_stopped_rank_is_named_and_ends_with_the_job(self):
        job, guards = self.start("--watchdog", "3")
        os.kill(next(iter(guards)), signal.SIGSTOP)
        code, errors = self.end(job, guards, 3 + 5 + 5)  # the allowance, and some for a machine that is busy
        self.assertEqual(code, 4, errors)
        self.assertRegex(errors, r"(?m)^unmask: rank \d host \S+: waited 3\.\d s for rank \d \(host \S+\)")
        log = re.search(r"its last operations are in (\S+)", errors)[1]
        self.assertGreater(pathlib.Path(log).read_text().count(" ago: "), 200)

    def test_a_rank_that_stops_in_mpi_init(self):
        job = subprocess.Popen([*MPIRUN, "-n", "2", PROGRAM, "generate", "--model", DEMO, "--watchdog", "2", "--requests",
                                request_file(self.folder.name, REQUESTS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               cwd=self.folder.name)
        guards = {}
        while not guards and job.poll() is None:
            guards = {parent: child for child, parent in children(job.pid).items() if parent != job.pid}
        os.kill(next(iter(guards)), signal.SIGSTOP)
        code, errors = self.end(job, guards, 2 + 5 + 5)
        self.assertEqual(code, 4, errors)
        self.assertRegex(errors, r"(?m)^unmask: rank \d host \S+: (stopped by a signal for 2|waited [\d.]+ s for rank)")

    def test_a_killed_rank_and_a_killed_guard(self):
        for victim, code in (("rank", 128 + signal.SIGKILL), ("guard", 4)):
            with self.subTest(victim):
                job, guards = self.start()
                os.kill(next(iter(guards)) if victim == "rank" else next(iter(guards.values())), signal.SIGKILL)
                self.assertEqual(self.end(job, guards, 15)[0], code)

    def test_a_killed_launcher(self):
        job, guards = self.start()
        job.kill()
        self.end(job, guards, 10)

    def test_a_reader_may_be_slower_than_the_watchdog(self):
        for options in (["--transport", "threads:2"], []):
            with self.subTest(options=options):
                requests = request_file(self.folder.name, [{**r, "gen_length": 16, "cache": "dual"} for r in REQUESTS[:600]])
                job = subprocess.Popen([PROGRAM, "generate", "--model", DEMO, "--requests", requests, "--watchdog", "0.5", *options],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep(6)  # 600 answers do not fit into a pipe
                self.assertIsNone(job.poll(), "the answers did fit")
                out, errors = job.communicate(timeout=60)
                self.assertEqual((job.returncode, out.count(b"\n")), (0, 600), errors)

    def test_verified_messages_change_nothing(self):
        question = ["generate", "--model", DEMO, "--prompt", "What is 82 plus 78?", "--gen-length", "32"]
        plain, verified = unmask(*question), unmask(*question, "--verify-messages", ranks=3)
        self.assertEqual((verified.code, verified.out), (0, plain.out), verified.err)


if __name__ == "__main__":
    unittest.main()
