#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lab itself: hosts that look like hosts, links that have a rate and a delay, output and exit code passed through, and
nothing left behind, however a job ended."""
import os
import pathlib
import signal
import subprocess
import time
import unittest

import lab_case
from lab_case import LAB, PROGRAM, lab

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models/demo"
PING = """
import socket, sys, time
if sys.argv[1] == "serve":
    with socket.create_server(("0.0.0.0", 5000)) as server:
        peer = server.accept()[0]
        peer.send(peer.recv(1))
        left = int(sys.argv[2])
        while left: left -= len(peer.recv(min(left, 1 << 20)))
        peer.send(b"x")
else:
    while True:
        try: peer = socket.create_connection(("10.77.0.1", 5000)); break
        except ConnectionRefusedError: time.sleep(0.02)
    begin = time.monotonic(); peer.send(b"x"); peer.recv(1); trip = time.monotonic() - begin
    begin = time.monotonic(); peer.sendall(bytes(int(sys.argv[2]))); peer.recv(1)
    print(trip, time.monotonic() - begin)
"""


def namespaces(name):
    return [p.name for p in pathlib.Path("/run/netns").glob(f"{name}-*")]


def is_alive(pid):
    """A zombie is not: whoever is its parent now takes its time."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Hosts(lab_case.LabCase):
    up = ("3",)

    def test_every_host_has_its_name_and_a_clean_environment(self):
        result = self.lab("run", "sh", "-c", "echo $(hostname) ${SECRET:-none} $OMPI_COMM_WORLD_LOCAL_SIZE", env={"SECRET": "here"})
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(sorted(result.out.splitlines()), ["h0 here 1", "h1 none 1", "h2 none 1"])

    def test_output_and_exit_code_are_the_programs(self):
        result = self.lab("run", "--hosts", "1", "sh", "-c", 'printf "%s|" "$@"; exit 3', "sh", "a b", "--rate", "")
        self.assertEqual((result.out, result.code), ("a b|--rate||", 3))

    def test_the_program_over_hosts_answers_as_alone(self):
        question = [PROGRAM, "generate", "--model", DEMO, "--prompt", "What is 82 plus 78?", "--gen-length", "32", "--log-level", "debug"]
        alone = subprocess.run(question, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
        for hosts, ranks in ((2, 1), (3, 2)):
            spread = self.lab("run", "--hosts", hosts, "--ranks-per-host", ranks, *question)
            self.assertEqual((spread.out, spread.code), (alone.stdout, 0), spread.err)

    def test_a_job_that_is_killed_leaves_nothing_after_down(self):
        job = subprocess.Popen([LAB, "--name", self.name, "run", "sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while self.lab("pids").out.count(" sleep 300") < 3 and time.monotonic() < end:
            time.sleep(0.05)
        left = [int(line.split()[0]) for line in self.lab("pids").out.splitlines()]
        self.assertGreaterEqual(len(left), 3)
        job.send_signal(signal.SIGKILL)
        job.wait()
        self.assertEqual(self.lab("down").code, 0)
        self.assertEqual(namespaces(self.name), [])
        self.assertFalse(pathlib.Path("/run/unmask-lab", self.name).exists())
        self.assertEqual([pid for pid in left if is_alive(pid)], [])
        self.assertEqual(self.lab("up", *self.up).code, 0)

    def test_what_is_wrong_is_said(self):
        for arguments, word in ((("up", "3"), "is up already"), (("exec", "h7", "true"), "found h7"), (("run",), "expected a program")):
            result = self.lab(*arguments)
            self.assertEqual((result.code, result.out), (1, ""))
            self.assertIn(word, result.err)


class Links(unittest.TestCase):
    def test_rate_and_delay(self):
        """What a link cannot do faster; how much slower it is hangs on the machine."""
        for number, (options, least_trip, least_seconds) in enumerate((
                (("--rate", "50mbit"), 0, 1.4), (("--delay", "20ms"), 0.04, 0), (("--rate", "50mbit", "--delay", "20ms"), 0.04, 1.4))):
            name = f"test-{os.getpid()}-{number}"
            with self.subTest(options=options):
                self.assertEqual(lab(name, "up", "2", *options).code, 0)
                try:
                    server = subprocess.Popen([LAB, "--name", name, "exec", "h0", "python3", "-c", PING, "serve", "10000000"])
                    trip, seconds = map(float, lab(name, "exec", "h1", "python3", "-c", PING, "call", "10000000").out.split())
                    server.wait(20)
                finally:
                    self.assertEqual(lab(name, "down").code, 0)
                self.assertGreaterEqual(trip, least_trip)
                self.assertGreaterEqual(seconds, least_seconds)  # 10 MB at 50 Mbit/s are 1.6 s; the bucket lends a little
                self.assertEqual(namespaces(name), [])


if __name__ == "__main__":
    lab_case.main()
