# SPDX-License-Identifier: Apache-2.0
"""What the tests in the lab share: a lab of their own for each class, and the end of the test where this machine allows none."""
import os
import pathlib
import subprocess
import sys
import unittest

LAB = pathlib.Path(__file__).with_name("lab")
PROGRAM = os.environ.get("UNMASK_PROGRAM", str(pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin/unmask"))
SECONDS = 120  # a call that takes longer hangs
SKIPPED = 77


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def lab(name, *arguments, env=None):
    done = subprocess.run([LAB, "--name", name, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS, env={**os.environ, **(env or {})})
    return Result(done)


class LabCase(unittest.TestCase):
    """One lab per class: `up` is what `lab up` is told."""
    up = ("2",)

    @classmethod
    def setUpClass(cls):
        cls.name = f"test-{os.getpid()}"
        made = lab(cls.name, "up", *cls.up)
        if made.code != 0:
            raise AssertionError(made.err)

    @classmethod
    def tearDownClass(cls):
        gone = lab(cls.name, "down")
        if gone.code != 0:
            raise AssertionError(gone.err)

    def lab(self, *arguments, env=None):
        return lab(self.name, *arguments, env=env)


def main():
    possible = lab("probe", "possible")
    if possible.code != 0:
        print(f"SKIPPED, nothing was tested: {possible.err.strip()}", file=sys.stderr)
        sys.exit(SKIPPED)
    unittest.main()
