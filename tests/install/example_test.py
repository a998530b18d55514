#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs the library into the build tree, moves it, builds docs/example/ against it and runs it on one and two ranks."""
import os
import pathlib
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["UNMASK_BUILD"])
CMAKE = os.environ["UNMASK_CMAKE"]
PLACE = BUILD / "install_test"
QUESTIONS = {"What is 82 plus 78?": "82 + 78 = 160", "Sort the letters: q d m a x f": "a d f m q x", "Sort the letters: e x j c": "c e j x"}


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class InstalledLibrary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(PLACE, ignore_errors=True)
        run(CMAKE, "--install", BUILD, "--component", "library", "--prefix", PLACE / "first")
        (PLACE / "first").rename(PLACE / "moved")
        run(CMAKE, "-S", ROOT / "docs/example", "-B", PLACE / "build", f"-DCMAKE_PREFIX_PATH={PLACE / 'moved'}",
            f"-DCMAKE_CXX_COMPILER={os.environ['UNMASK_CXX']}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run(CMAKE, "--build", PLACE / "build")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(PLACE, ignore_errors=True)

    def test_answers_on_any_rank_count(self):
        for launch in ([], [*os.environ["UNMASK_MPIRUN"].split(), "-n", "2"]):
            lines = sorted(run(*launch, PLACE / "build/ask", ROOT / "models/demo", *QUESTIONS).splitlines())
            self.assertEqual(lines, [f"{i + 1}: {answer}" for i, answer in enumerate(QUESTIONS.values())], launch)

    def test_names_no_path_of_the_source(self):
        for file in PLACE.glob("moved/**/*"):
            if file.suffix in (".h", ".cmake"):
                self.assertNotIn(str(ROOT), file.read_text(), file)

    def test_is_forty_lines(self):
        self.assertLessEqual(len((ROOT / "docs/example/ask.cpp").read_text().splitlines()), 40)


if __name__ == "__main__":
    unittest.main()
