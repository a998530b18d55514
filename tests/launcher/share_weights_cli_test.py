#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks of this host that share one copy of embedding, attention, routers and head: the same answers, read once, and nothing stays
behind when they are killed while they load."""
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time
import unittest

from unmask_cli import DEMO, MPIRUN, PROGRAM, CliTest, request_file, unmask

ASK = ["--prompt-tokens", "5,6,7", "--gen-length", "24", "--threads", "1", "--json"]


def descendants(pid):
    found = []
    for task in pathlib.Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            for child in task.read_text().split():
                found += [int(child), *descendants(int(child))]
        except OSError:
            pass
    return found


def is_there(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def is_loading(pid):
    """Whether a process has mapped what is to be shared."""
    try:
        return "memfd:unmask-weights" in pathlib.Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


class ShareWeights(CliTest):
    def start_long_job(self, folder, ranks, *options, **streams):
        """A job of minutes, and those of its ranks that were first seen to load."""
        requests = request_file(folder, [{"prompt_tokens": [5, 6, 7], "gen_length": 128, "decoder": "steps", "cache": "none", "stop_at_eos": False}] * 5000)
        job = subprocess.Popen([*MPIRUN, "-n", str(ranks), PROGRAM, "generate", "--model", DEMO, "--threads", "1", *options, "--requests", requests],
                               stdout=subprocess.DEVNULL, **streams)
        seen = []
        while job.poll() is None and not seen:
            seen = [pid for pid in descendants(job.pid) if is_loading(pid)]
        self.assertTrue(seen, "a job that ended before it was seen to load")
        return job, seen

    def answer(self, *options, model=DEMO, **how):
        result = unmask("generate", "--model", model, *ASK, *options, **how)
        self.assertEqual(result.code, 0, result.err)
        return result.lines[-1], result.err

    def check(self, model, *options):
        """The same tokens for any ranks, shared or not; what all ranks need is read once."""
        expected = self.answer(*options, model=model)[0]
        whole = expected["run"]["bytes_read"][0]
        once = json.loads(unmask("info", "--model", model, "--json").out)["bytes_shared_on_host"]
        for how, ranks in ([{"ranks": n}, n] for n in (2, 3, 4)):
            shared = self.answer(*options, model=model, **how)[0]
            apart = self.answer(*options, "--share-weights", "off", model=model, **how)[0]
            self.assertEqual(shared["tokens"], expected["tokens"])
            self.assertEqual(apart["tokens"], expected["tokens"])
            self.assertLess(sum(shared["run"]["bytes_read"]), whole * 1.02, "norms alone are read by each rank")
            self.assertEqual(sum(apart["run"]["bytes_read"]) - sum(shared["run"]["bytes_read"]), (ranks - 1) * once)
        threads = self.answer(*options, "--transport", "threads:3", model=model)[0]
        self.assertEqual(threads["tokens"], expected["tokens"])
        self.assertLess(sum(threads["run"]["bytes_read"]), whole * 1.02)

    def test_answers_and_bytes(self):
        self.check(DEMO)
        self.check(DEMO, "--dtype", "f32")
        self.check(DEMO, "--dtype", "int8")

    def test_packed_models(self):
        with tempfile.TemporaryDirectory() as folder:
            packed = pathlib.Path(folder) / "demo.packed"
            self.assertEqual(unmask("pack", "--model", DEMO, "--dtype", "bf16", "--output", packed).code, 0)
            self.check(packed)

    def test_where_it_cannot_be(self):
        """A limit that would kill: the ranks do without, and say so once."""
        expected = self.answer()[0]
        command = [*MPIRUN, "--mca", "btl", "self,tcp", "-n", "2", "sh", "-c", 'ulimit -f 100; exec "$0" "$@"', PROGRAM, "generate", "--model", DEMO, *ASK]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("hold a copy each"), 1, done.stderr)
        self.assertIn("ulimit -f", done.stderr)
        self.assertIn(f'"tokens":{str(expected["tokens"]).replace(" ", "")}', done.stdout)

    def test_nothing_stays_behind(self):
        """SIGKILL to launcher, to a rank, to all of them, at moments around the load."""
        before = set(os.listdir("/dev/shm"))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for i in range(18):
            job, seen = self.start_long_job(folder.name, 3, stderr=subprocess.DEVNULL)
            time.sleep(random.Random(i).choice([0, 0.002, 0.01, 0.05]))
            below = descendants(job.pid)
            victims = [[job.pid], seen[:1], [*seen, job.pid]][i % 3]
            for pid in victims:
                if is_there(pid):
                    os.kill(pid, signal.SIGKILL)
            job.wait(timeout=60)
            deadline = time.monotonic() + 20
            while (left := [pid for pid in below if is_there(pid)]) and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(left, [], f"round {i}")
        stayed = [name for name in set(os.listdir("/dev/shm")) - before if "unmask" in name]
        self.assertEqual(stayed, [])

    def test_who_waits_for_a_slow_rank(self):
        """A rank is stopped while it loads: the others wait, and give up after --watchdog, as at any other time."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        job, seen = self.start_long_job(folder.name, 2, "--watchdog", "2", stderr=subprocess.PIPE, text=True)
        os.kill(seen[-1], signal.SIGSTOP)
        _, errors = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 4, errors)
        self.assertRegex(errors, r"(?m)^unmask: rank \d host \S+: (stopped by a signal for|waited [\d.]+ s for rank)")


if __name__ == "__main__":
    unittest.main()
