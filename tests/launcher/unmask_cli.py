# SPDX-License-Identifier: Apache-2.0
"""How the end-to-end tests call the program: alone, under mpirun, with ranks as threads; and how they damage checkpoints."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data"
DEMO = ROOT / "models/demo"
PROGRAM = os.environ["UNMASK_PROGRAM"]
MPIRUN = os.environ.get("UNMASK_MPIRUN", "mpirun --oversubscribe --bind-to none").split()
SECONDS = 180  # a call that takes longer hangs


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


def unmask(*args, ranks=0, stdin=None, env=None, text=True):
    """Runs the program; ranks = 0: without mpirun."""
    command = ([*MPIRUN, "-n", str(ranks)] if ranks else []) + [PROGRAM, *map(str, args)]
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, timeout=SECONDS,
                          env={**os.environ, **(env or {})})
    return Result(done.returncode, done.stdout, done.stderr)


def request_file(folder, requests, name="requests.jsonl"):
    path = pathlib.Path(folder) / name
    path.write_text("".join(json.dumps(r) + "\n" for r in requests))
    return path


def decode_cases(name):
    """The golden decode cases as (request, case)."""
    cases = []
    rows = json.loads((DATA / name / "decode.json").read_text())
    for row in rows:
        for case in row.get("results", [row]):
            cases.append(({"id": row.get("id", f"case-{len(cases)}"), "prompt_tokens": row["prompt"], **case["options"]}, {**row, **case}))
    return cases


class Folder:
    """A copy of a checkpoint that may be damaged."""

    def __init__(self, source):
        self.holder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.holder.name) / "model"
        shutil.copytree(source, self.path)
        for file in self.path.iterdir():
            file.chmod(0o644)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.cleanup()

    def config(self, **changes):
        file = self.path / "config.json"
        config = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({k: v for k, v in config.items() if v != "REMOVE"}))

    def header(self, change, name="model.safetensors"):
        """Rewrites the header: change(dict) -> dict or text."""
        file = self.path / name
        raw = file.read_bytes()
        length = struct.unpack("<Q", raw[:8])[0]
        new = change(json.loads(raw[8 : 8 + length]))
        text = (new if isinstance(new, str) else json.dumps(new)).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])

    def poke(self, tensor, data, name="model.safetensors"):
        """Overwrites a tensor's first bytes."""
        file = self.path / name
        raw = bytearray(file.read_bytes())
        length = struct.unpack("<Q", raw[:8])[0]
        begin = 8 + length + json.loads(raw[8 : 8 + length])[tensor]["data_offsets"][0]
        raw[begin : begin + len(data)] = data
        file.write_bytes(bytes(raw))


class CliTest(unittest.TestCase):
    def assertRefused(self, result, code, *words):
        self.assertEqual(result.code, code, f"stdout: {result.out[-500:]}\nstderr: {result.err[-2000:]}")
        for word in words:
            self.assertIn(word, result.err + result.out)
        self.assertNotIn("internal error", result.err)
        said = [line for line in result.err.splitlines() if line.startswith("unmask:")]
        self.assertEqual(len(said), 1, f"exactly one line says what is wrong, found: {result.err}")
