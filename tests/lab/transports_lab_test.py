#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same tokens over every transport: threads, shared memory, TCP and UCX across hosts, with packets lost, with checksums. The
golden cases in one launch each; the settings are the files in examples/openmpi."""
import json
import os
import random
import subprocess
import tempfile
import unittest

import hosts
import lab_case
from lab_case import PROGRAM

DATA = hosts.ROOT / "tests/data/uneven"
SETTINGS = hosts.ROOT / "examples/openmpi"
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]
TCP = ("--bare", "--mca", "mca_base_param_files", SETTINGS / "tcp.conf")
UCX = ("--bare", "--mca", "mca_base_param_files", SETTINGS / "ucx_tcp.conf")


def answers(text):
    return {a["id"]: (a["tokens"], a["passes"], a["rows"]) for a in map(json.loads, text.splitlines())}


class Transports(lab_case.LabCase):
    up = ("4",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cases = json.loads((DATA / "decode.json").read_text())
        for i, case in enumerate(cases):
            case.setdefault("id", f"case-{i}")  # random numbers hang on the id
        cls.expected = {case["id"]: (case["tokens"], case["passes"], case["rows"]) for case in cases}
        cls.folder = tempfile.TemporaryDirectory()
        cls.requests = os.path.join(cls.folder.name, "requests.jsonl")
        with open(cls.requests, "w") as out:
            for case in cases:
                out.write(json.dumps({"id": case["id"], "prompt_tokens": case["prompt"], **case["options"]}) + "\n")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        super().tearDownClass()

    def check(self, run, label):
        for dtype in ("f32", "bf16"):
            with self.subTest(label, dtype=dtype):
                done = run(["generate", "--model", DATA, "--requests", self.requests, "--threads", "1", "--dtype", dtype])
                self.assertEqual(done.code, 0, done.err)
                found = answers(done.out)
                self.assertEqual(len(found), len(self.expected))
                if dtype == "f32":
                    self.assertEqual(found, self.expected)
                self.bf16 = getattr(self, "bf16", None) or (found if dtype == "bf16" else None)
                self.assertEqual(found, self.bf16 if dtype == "bf16" else self.expected)

    def here(self, *before, after=()):
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return lambda arguments: lab_case.Result(subprocess.run([*before, PROGRAM, *map(str, arguments), *after], stdout=subprocess.PIPE,
                                                                stderr=subprocess.PIPE, text=True, timeout=120, env=environment))

    def across(self, *options, before=(), after=()):
        return lambda arguments: self.lab("run", *options, *before, PROGRAM, *arguments, *after)

    def permuted(self, ranks):
        """A file with experts dealt to ranks at random."""
        owners = [expert % ranks for expert in range(json.loads((DATA / "config.json").read_text())["num_experts"])]
        random.Random(ranks).shuffle(owners)
        file = os.path.join(self.folder.name, f"placement-{ranks}.json")
        with open(file, "w") as out:
            json.dump(owners, out)
        return file

    def test_same_tokens(self):
        self.check(self.here(), "alone")
        self.check(self.here(after=("--transport", "threads:3")), "threads")
        self.check(self.here(*MPIRUN, "-n", "3", "--mca", "btl", "self,vader", "--mca", "pml", "ob1"), "shared memory")
        self.check(self.across("--hosts", "2", *TCP), "tcp, 2 hosts")
        self.check(self.across("--hosts", "3", *TCP, after=("--micro-batches", "2", "--exchange", "direct")), "tcp, 3 hosts, two micro-batches")
        self.check(self.across(*TCP, after=("--verify-messages",)), "tcp, 4 hosts, verified")
        self.check(self.across("--hosts", "2", "--ranks-per-host", "2", *TCP), "tcp and shared memory")
        self.check(self.across("--ranks-per-host", "2", *TCP, after=("--overlap", "off", "--placement", self.permuted(8))),
                   "tcp, 4 hosts, 8 ranks, no overlap, permuted placement")
        self.check(self.across("--hosts", "2", *UCX, before=("env", "UCX_TLS=tcp,self")), "ucx over tcp")
        self.check(self.across(*UCX, before=("env", "UCX_TLS=tcp,self"), after=("--micro-batches", "2")), "ucx over tcp, 4 hosts, two micro-batches")
        self.assertEqual(self.lab("fault", "loss", "1").code, 0)
        try:
            self.check(self.across(*TCP), "tcp, 4 hosts, 1 % of the packets lost")
        finally:
            self.assertEqual(self.lab("fault", "none").code, 0)


if __name__ == "__main__":
    lab_case.main()
