#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Threads on cores of their own, inside the binding that taskset or mpirun gave: the map that the log prints."""
import os
import re
import subprocess
import tempfile
import unittest

from unmask_cli import DATA, DEMO, PROGRAM, CliTest

CORES = sorted(os.sched_getaffinity(0))
MPIRUN = ["mpirun", "--oversubscribe"]
RUN = [PROGRAM, "generate", "--model", DATA / "plain", "--prompt-tokens", "1,2,3", "--gen-length", "8", "--log-level", "debug"]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@unittest.skipIf(len(CORES) < 2, "two cores are needed")
class Pinning(CliTest):
    def pinned(self, *before, options=()):
        """{rank: cores} as the log tells; the reason where nobody is pinned."""
        done = subprocess.run([*before, *RUN, *options], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
        self.assertEqual(done.returncode, 0, done.stderr)
        if found := re.search(r"threads are not pinned: (.*)", done.stderr):
            return found[1]
        found = re.search(r"threads are pinned to cores: (.*)", done.stderr)
        return {int(rank): cores for rank, cores in re.findall(r"rank (\d+): ([\d -]+)", found[1])} if found else None

    def test_inside_the_binding(self):
        one = str(CORES[1])
        self.assertEqual(self.pinned("taskset", "-c", one), {0: one})
        self.assertIn("2 threads share 1 cores", self.pinned("taskset", "-c", one, options=["--threads", "2"]))
        self.assertIsNone(self.pinned("taskset", "-c", one, options=["--pin", "off"]))

    def test_ranks_split_what_they_share(self):
        two = f"{CORES[0]},{CORES[1]}"
        apart = {0: str(CORES[0]), 1: str(CORES[1])}
        self.assertEqual(self.pinned("taskset", "-c", two, *MPIRUN, "--bind-to", "none", "-n", "2", options=["--threads", "1"]), apart)
        self.assertEqual(self.pinned("taskset", "-c", two, options=["--threads", "1", "--transport", "threads:2"]), apart)
        self.assertIn("3 threads share", self.pinned("taskset", "-c", two, *MPIRUN, "--bind-to", "none", "-n", "3", options=["--threads", "1"]))

    def test_ranks_that_mpirun_bound_stay_there(self):
        map_of = self.pinned(*MPIRUN, "--map-by", "core", "--bind-to", "core", "-n", "2")
        self.assertEqual(sorted(map_of), [0, 1])
        self.assertNotEqual(map_of[0], map_of[1])

    def test_the_map_of_batch_has_the_units_of_all_threads(self):
        two = f"{CORES[0]},{CORES[1]}"
        with tempfile.TemporaryDirectory() as work:
            for before in ((), (*MPIRUN, "--bind-to", "none", "-n", "1")):
                done = subprocess.run(["taskset", "-c", two, *before, PROGRAM, "batch", "--model", DEMO, "-i", "-", "-o", f"{work}/out", "--restart",
                                       "--threads", "2"], input=b"{}", capture_output=True, timeout=60, env=ENVIRONMENT)
                found = re.search(r"rank 0: host \S+, process \d+, 2 threads on processing units (.*)", done.stderr.decode())
                self.assertIn(found and found[1], [f"{CORES[0]}{between}{CORES[1]}" for between in "- "], done.stderr)


if __name__ == "__main__":
    unittest.main()
