#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pack, and --model FILE in every command: what a packed model says is what its folder says; damaged ones end with code 3."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from unmask_cli import DATA, DEMO, PROGRAM, CliTest, decode_cases, request_file, unmask


class Packed(CliTest):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.work = pathlib.Path(holder.name)

    def pack(self, folder, dtype="bf16", name="model.packed", ranks=0):
        result = unmask("pack", "--model", folder, "--dtype", dtype, "--output", self.work / name, ranks=ranks)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(result.out, "")
        return self.work / name

    def answers(self, model, requests, *options, ranks=0):
        result = unmask("generate", "--model", model, "--requests", request_file(self.work, requests), *options, ranks=ranks)
        self.assertEqual(result.code, 0, result.err)
        return [(a["id"], a["tokens"], a["passes"]) for a in result.lines], result.lines[-1]["run"]["dtype"]

    def test_same_tokens_as_the_folder_in_any_layout(self):
        for name, dtype in (("wide", "bf16"), ("wide", "int4"), ("uneven", "int8"), ("plain", "int8")):
            packed = self.pack(DATA / name, dtype)
            requests = [request for request, _ in decode_cases(name)]
            expected, _ = self.answers(DATA / name, requests, "--dtype", dtype)
            layouts = [(ranks, ["--threads", "1"]) for ranks in ((1, 2, 3, 4) if dtype == "bf16" else (3,))]
            for ranks, options in layouts + [(0, ["--transport", "threads:3", "--threads", "2"])]:
                with self.subTest(name=name, dtype=dtype, ranks=ranks):
                    self.assertEqual(self.answers(packed, requests, *options, ranks=ranks), (expected, dtype))

    def test_same_tokens_with_every_kernel_family(self):
        families = [k["name"] for k in json.loads(unmask("info", "--json").out)["kernels"] if k["supported"]]
        requests = [decode_cases("uneven")[0][0]]
        for dtype in ("bf16", "int8"):
            packed = self.pack(DATA / "uneven", dtype, ranks=2)
            for family in families:
                with self.subTest(dtype=dtype, family=family):
                    options = ["--dtype", dtype, "--kernel", family]
                    self.assertEqual(self.answers(packed, requests, *options), self.answers(DATA / "uneven", requests, *options))

    def test_bf16_serves_every_dtype(self):
        packed = self.pack(DATA / "wide")
        requests = [request for request, _ in decode_cases("wide")[:2]]
        for dtype in ("f32", "int8", "int4"):
            with self.subTest(dtype=dtype):
                self.assertEqual(self.answers(packed, requests, "--dtype", dtype), self.answers(DATA / "wide", requests, "--dtype", dtype))

    def test_every_command_takes_the_file_alone(self):
        source = self.work / "demo"
        shutil.copytree(DEMO, source)
        packed = self.pack(source, "int8")
        same = {}
        for model in (source, packed):
            (folder := self.work / f"of-{model.name}").mkdir()
            if model == packed:
                shutil.rmtree(source)
            say = lambda *args, stdin=None, ranks=0: unmask(*args, stdin=stdin, ranks=ranks)
            dtype = [] if model == packed else ["--dtype", "int8"]
            text = say("generate", "--model", model, "--prompt", "What is 82 plus 78?", "--gen-length", 32, *dtype, ranks=2)
            ids = say("tokenize", "--model", model, "--chat", stdin="Sort the letters: q d m\n")
            back = say("detokenize", "--model", model, stdin=ids.out)
            requests = request_file(self.work, [{"id": "a", "prompt": "What is 1 plus 2?", "stop": ["."]}, {"prompt": "Hello", "gen_length": 8}])
            batch = say("batch", "--model", model, "-i", requests, "-o", folder / "answers", *dtype, ranks=2)
            logits = say("logits", "--model", model, "--prompt-tokens", "509,39,52", "--output", folder / "logits", *dtype)
            for result in (text, ids, back, batch, logits):
                self.assertEqual(result.code, 0, result.err)
            same[model] = (text.out, ids.out, back.out, (folder / "answers").read_text(), (folder / "logits").read_bytes())
        self.assertEqual(same[packed], same[source])
        info = json.loads(unmask("info", "--model", packed, "--ranks", 2, "--json").out)
        self.assertEqual((info["expert_weights"], info["model"]["packed"]), ("int8", str(packed)))
        check = unmask("check", "--model", packed)
        self.assertEqual(check.code, 0, check.out + check.err)
        self.assertIn("SKIP golden cases", check.out)
        bench = unmask("bench", "generate", "--model", packed, "--repeat", 1, "--concurrency", 1, "--gen-length", 8, "--prompt-length", 4)
        self.assertEqual(bench.code, 0, bench.err)

    def refused(self, model, *options, ranks=0, code=3):
        result = unmask("generate", "--model", model, "--prompt-tokens", "1,2", "--gen-length", 4, *options, ranks=ranks)
        self.assertEqual(result.code, code, result.err)
        lines = [line for line in result.err.splitlines() if line.startswith("unmask:")]
        self.assertEqual(len(lines), 1, result.err)
        return lines[0]

    def test_damaged_files_end_with_one_line_and_code_3(self):
        packed = self.pack(DATA / "plain", "int8")
        whole = packed.read_bytes()
        for what, data, says in (("cut", whole[:-1], "cut off"), ("cut in the header", whole[:100], "cut off"), ("empty", b"", "another file"),
                                 ("flipped", whole[:-1] + bytes([whole[-1] ^ 1]), "damaged"),
                                 ("flipped header", whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], "damaged"),
                                 ("version", whole[:8] + b"\2" + whole[9:], "expected version 1"), ("text", b"hello, this is no model", "another file")):
            for ranks in (0, 2) if what == "flipped" else (0,):
                with self.subTest(what=what, ranks=ranks):
                    packed.write_bytes(data)
                    self.assertIn(says, self.refused(packed, ranks=ranks))

    def test_other_dtypes_are_refused_with_what_to_do(self):
        packed = self.pack(DATA / "plain", "int8")
        for dtype in ("bf16", "f32", "int4"):
            self.assertIn("leave --dtype out", self.refused(packed, "--dtype", dtype))
        self.assertEqual(unmask("pack", "--model", DEMO, "--dtype", "f32", "--output", self.work / "x").code, 2)
        self.assertEqual(unmask("pack", "--model", packed, "--output", self.work / "x").code, 3)
        self.assertFalse((self.work / "x").exists())

    def test_a_full_disk_gives_6_and_leaves_nothing(self):
        target = self.work / "full"
        target.mkdir()
        script = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 99; "$2" pack --model "$3" --output "$1/model"; code=$?; ls -A "$1"; exit $code'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "-", target, PROGRAM, DEMO], capture_output=True, text=True, timeout=60)
        if done.returncode in (1, 99) and "unshare" in done.stderr + done.stdout or done.returncode == 99:
            self.skipTest("a small disk can be mounted by root only")
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("no room for its", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_an_older_file_stays_until_the_new_one_is_whole(self):
        packed = self.pack(DATA / "plain")
        before = packed.read_bytes()
        broken = self.work / "broken"
        shutil.copytree(DATA / "plain", broken)
        weights = broken / "model.safetensors"
        weights.chmod(0o644)
        weights.write_bytes(weights.read_bytes()[:-2] + b"\xff\x7f")
        result = unmask("pack", "--model", broken, "--output", packed)
        self.assertEqual(result.code, 3, result.err)
        self.assertEqual(packed.read_bytes(), before)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["broken", "model.packed"])
        self.pack(DATA / "plain", "int8")
        self.assertNotEqual(packed.read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
