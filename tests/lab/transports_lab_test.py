#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same tokens over every transport: threads, shared memory, TCP and UCX across hosts, with packets lost, with checksums. The
golden cases in one launch each; the settings are the files in examples/openmpi. UNMASK_LONG_TESTS=1 crosses every transport with
every number of ranks, overlap, exchange and placement: 192 layouts (some 30 minutes on two cores)."""
import itertools
import json
import os
import random
import subprocess
import sys
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
UCX_TCP = ("env", "UCX_TLS=tcp,self")
SHARED_MEMORY = ("--mca", "btl", "self,vader", "--mca", "pml", "ob1")


def answers(text):
    return {a["id"]: (a["tokens"], a["passes"], a["rows"]) for a in map(json.loads, text.splitlines())}


class Transports(lab_case.LabCase):
    up = ("5",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cases = json.loads((DATA / "decode.json").read_text())
        for i, case in enumerate(cases):
            case.setdefault("id", f"case-{i}")  # random numbers hang on the id
        cls.expected = {case["id"]: (case["tokens"], case["passes"], case["rows"]) for case in cases}
        cls.folder = tempfile.TemporaryDirectory()
        cls.requests = os.path.join(cls.folder.name, "requests.jsonl")
        cls.lines = [json.dumps({"id": case["id"], "prompt_tokens": case["prompt"], **case["options"]}) for case in cases]
        cls.write_requests()

    @classmethod
    def write_requests(cls):
        with open(cls.requests, "w") as out:
            out.writelines(line + "\n" for line in cls.lines)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        super().tearDownClass()

    def check(self, run, label, threads=1):
        for dtype in ("f32", "bf16"):
            with self.subTest(label, dtype=dtype):
                done = run(["generate", "--model", DATA, "--requests", self.requests, "--threads", threads, "--dtype", dtype])
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
        self.check(self.here(*MPIRUN, "-n", "3", *SHARED_MEMORY), "shared memory")
        self.check(self.across("--hosts", "2", *TCP), "tcp, 2 hosts")
        self.check(self.across("--hosts", "3", *TCP, after=("--micro-batches", "2", "--exchange", "direct")), "tcp, 3 hosts, two micro-batches")
        self.check(self.across("--hosts", "4", *TCP, after=("--verify-messages",)), "tcp, 4 hosts, verified")
        self.check(self.across("--hosts", "2", "--ranks-per-host", "2", *TCP), "tcp and shared memory")
        self.check(self.across("--hosts", "4", "--ranks-per-host", "2", *TCP, after=("--overlap", "off", "--placement", self.permuted(8))),
                   "tcp, 4 hosts, 8 ranks, no overlap, permuted placement")
        self.check(self.across("--hosts", "2", *UCX, before=UCX_TCP), "ucx over tcp")
        self.check(self.across("--hosts", "4", *UCX, before=UCX_TCP, after=("--micro-batches", "2")), "ucx over tcp, 4 hosts, two micro-batches")
        self.assertEqual(self.lab("fault", "loss", "1").code, 0)
        try:
            self.check(self.across("--hosts", "4", *TCP), "tcp, 4 hosts, 1 % of the packets lost")
        finally:
            self.assertEqual(self.lab("fault", "none").code, 0)

    def over(self, transport, ranks, options):
        if transport == "threads":
            return self.here(after=("--transport", f"threads:{ranks}", *options))
        if transport == "shared memory":
            return self.here(*MPIRUN, "-n", str(ranks), *SHARED_MEMORY, after=options)
        hosts_used, per_host = (4, 2) if ranks == 8 else (ranks, 1)
        where = ("--hosts", str(hosts_used), "--ranks-per-host", str(per_host))
        return self.across(*where, *(TCP if transport == "tcp" else UCX), before=UCX_TCP if transport == "ucx" else (), after=options)

    @unittest.skipUnless(os.environ.get("UNMASK_LONG_TESTS") == "1", "the whole product takes half an hour: UNMASK_LONG_TESTS=1")
    def test_whole_product(self):
        chance = random.Random(5)
        product = itertools.product(("threads", "shared memory", "tcp", "ucx"), (1, 2, 3, 4, 5, 8), ("on", "off"),
                                    ("direct", "allgather"), ("even", "permuted"))
        for count, (transport, ranks, overlap, exchange, placement) in enumerate(product, 1):
            options = ["--overlap", overlap, "--exchange", exchange, "--micro-batches", str(chance.choice((1, 2)))]
            threads = chance.choice((1, 2, 3))
            if placement == "permuted":
                options += ["--placement", self.permuted(ranks)]
            chance.shuffle(self.lines)
            self.write_requests()
            label = f"{count}: {transport}, {ranks} ranks of {threads} threads, {' '.join(options)}"
            print(label, file=sys.stderr, flush=True)
            self.check(self.over(transport, ranks, options), label, threads)


if __name__ == "__main__":
    lab_case.main()
