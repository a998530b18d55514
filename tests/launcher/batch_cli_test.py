#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unmask batch from outside: the same answers as generate, in any form of input, on any ranks; resumed, refused, stopped."""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from unmask_cli import DEMO, MPIRUN, PROGRAM, CliTest, Folder, decode_cases, unmask

SHORT = {"gen_length": 16, "block_length": 16}


def questions(count, **more):
    cases = [case["question"] for _, case in decode_cases("demo")]
    return [{"id": f"q{i}", "prompt": cases[i % len(cases)], **SHORT, **more} for i in range(count)]


def chat(request, name=None):
    body = {"model": "demo", "messages": [{"role": "user", "content": request["prompt"]}], "max_tokens": request["gen_length"],
            "block_length": request["block_length"]}
    return {"custom_id": name or request["id"], "method": "POST", "url": "/v1/chat/completions", "body": body}


class BatchTest(CliTest):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.work = pathlib.Path(self.holder.name)
        self.input, self.output = self.work / "in.jsonl", self.work / "out.jsonl"

    def write(self, requests):
        lines = [r if isinstance(r, (str, bytes)) else json.dumps(r) for r in requests]
        self.input.write_bytes(b"".join((l if isinstance(l, bytes) else l.encode()) + b"\n" for l in lines))

    def batch(self, *args, ranks=0, code=0, **more):
        result = unmask("batch", "--model", DEMO, "-i", self.input, "-o", self.output, *args, ranks=ranks, **more)
        self.assertEqual(result.code, code, f"{result.out[-500:]} {result.err[-3000:]}")
        return result

    def lines(self):
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def answers_of_generate(self):
        result = unmask("generate", "--model", DEMO, "--requests", self.input)
        return [{k: v for k, v in line.items() if k != "run"} for line in result.lines]


class Answers(BatchTest):
    def test_the_same_as_generate_on_any_ranks(self):
        self.write(questions(60))
        expected = self.answers_of_generate()
        first = None
        for ranks, more in ((0, []), (1, []), (2, []), (3, ["--max-rows", "64"]), (4, ["--reorder-window", "3"]),
                            (0, ["--transport", "threads:3"]), (2, ["--kv-memory", "200000"])):
            with self.subTest(ranks=ranks, more=more):
                self.batch("--restart", *more, ranks=ranks)
                self.assertEqual(self.lines(), expected)
                first = first or self.output.read_bytes()
                self.assertEqual(self.output.read_bytes(), first)
        self.batch("--restart", "--unordered", ranks=3)
        self.assertEqual(sorted(self.lines(), key=lambda a: a["id"]), sorted(expected, key=lambda a: a["id"]))

    def test_openai_forms_beside_plain_lines(self):
        plain = questions(12)
        completion = {"custom_id": "raw", "method": "POST", "url": "/v1/completions",
                      "body": {"model": "m", "prompt": [509, 39, 52], "max_tokens": 16, "block_length": 16}}
        self.write([line for r in plain for line in (r, chat(r), "")] + [completion])
        self.batch(ranks=2)
        lines = self.lines()
        self.assertEqual(len(lines), 25)
        for ours, theirs in zip(lines[0:24:2], lines[1:24:2]):
            self.assertEqual(theirs["custom_id"], ours["id"])
            self.assertIsNone(theirs["error"])
            body = theirs["response"]["body"]
            self.assertEqual(theirs["response"]["status_code"], 200)
            self.assertEqual(body["choices"][0]["message"], {"role": "assistant", "content": ours["text"]})
            self.assertEqual(body["choices"][0]["finish_reason"], ours["finish_reason"])
            usage = body["usage"]
            self.assertEqual(usage["prompt_tokens"], len(ours["prompt_tokens"]))
            self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertEqual(lines[24]["response"]["body"]["object"], "text_completion")
        self.assertEqual(len({line["id"] for line in lines}), 25)

    def test_pipes_standard_input_and_zstd(self):
        self.write(questions(20))
        self.batch()
        expected = self.output.read_bytes()
        plain = self.input.read_bytes()
        pipe = self.work / "pipe"
        os.mkfifo(pipe)
        writer = subprocess.Popen(["bash", "-c", f"head -n 5 {self.input} > {self.work}/a; tail -n +6 {self.input} > {self.work}/b; "
                                   f"(cat {self.work}/a; sleep 1; cat {self.work}/b) > {pipe}"])
        self.input, kept = pipe, self.input
        self.batch("--restart", ranks=2)
        writer.wait()
        self.assertEqual(self.output.read_bytes(), expected)
        self.input = pathlib.Path("-")
        self.batch("--restart", ranks=2, stdin=plain.decode())
        self.assertEqual(self.output.read_bytes(), expected)
        if shutil.which("zstd") is None:
            self.skipTest("no zstd program: only its library was tested")
        subprocess.run(["zstd", "-q", str(kept)], check=True)
        self.input = kept.with_suffix(".jsonl.zst")
        self.batch("--restart")
        self.assertEqual(self.output.read_bytes(), expected)

    def test_rubbish_is_one_error_each(self):
        good = questions(3)
        lines = [good[0], "not json", "[" * 10000 + "]" * 10000, b'{"prompt": "\xff\xfe"}', {"id": "x"}, chat(good[1], "twice"),
                 chat(good[1], "twice"), {"prompt": "a b " * 2_500_000}, {"prompt": "x", "gen_length": -5},
                 '{"prompt": "x", "threshold": 1e400}', {"prompt": "x", "gen_length": 10**30}, chat(good[2], "n") | {"extra": 1},
                 {"custom_id": "no url", "method": "POST", "body": {}}, {"prompt": "x", "gen_length": 100000}, good[2]]
        self.write(lines)
        self.batch(ranks=1, code=5)
        alone = self.output.read_bytes()
        again = self.batch("--restart", "--log-ranks", "all", "--summary", self.work / "summary.json", ranks=3, code=5)
        self.assertEqual(self.output.read_bytes(), alone)
        got = self.lines()
        self.assertEqual(len(got), len(lines))
        for i, line in enumerate(got):
            self.assertEqual(line.get("error") is None, i in (0, 5, 14), (i, str(line)[:200]))
        self.assertEqual(got[6]["error"]["code"], "duplicate_custom_id")
        self.assertEqual(got[6]["custom_id"], "twice")
        self.assertEqual(got[1]["error"]["code"], "invalid_json")
        self.assertEqual(again.err.count("rank 1: host"), 1, again.err)
        summary = json.loads((self.work / "summary.json").read_text())
        self.assertEqual((summary["answers"], summary["failed"], summary["ended"]), (15, 12, "done"))
        self.assertEqual(sum(summary["errors"].values()), 12)
        self.assertEqual(len(summary["this_run"]["ranks"]), 3)
        before = self.output.read_bytes()
        self.assertIn("nothing was left", self.batch(ranks=2, code=5).err)
        self.assertEqual(self.output.read_bytes(), before)


class DryRun(BatchTest):
    def dry(self, *args, code=0):
        result = unmask("batch", "--dry-run", "--model", DEMO, "-i", self.input, *args)
        self.assertEqual(result.code, code, result.err)
        return result.out

    def test_it_fails_what_the_run_will_fail(self):
        self.write(questions(5))
        self.assertIn("requests: 5, 0 of them cannot be answered", self.dry())
        self.write([*questions(4), "not json", {"prompt": "x", "gen_length": 400, "block_length": 16}])
        told = self.dry("--kv-memory", "200000", code=5)
        self.assertIn("requests: 6, 2 of them cannot be answered", told)
        self.assertIn("  line 5: not valid JSON", told)
        self.batch("--kv-memory", "200000", "--summary", self.work / "summary.json", code=5)
        errors = json.loads((self.work / "summary.json").read_text())["errors"]
        self.assertEqual(errors, {"invalid_json": 1, "not_runnable": 1})
        for kind in errors:
            self.assertIn(f"  {kind}: 1\n", told)


class Resumed(BatchTest):
    def test_what_changed_is_refused(self):
        self.write(questions(30))
        self.batch()
        before = self.output.read_bytes()
        for args, word in ((["--dtype", "f32"], "--dtype was bf16, is f32"), (["--threshold", "0.8"], "--threshold was 0.9, is 0.8"),
                           (["--kernel", "portable"], "--kernel"), (["--unordered"], "order was input, is any")):
            for ranks in (0, 2):
                self.assertRefused(self.batch(*args, ranks=ranks, code=3), 3, word, "--restart")
        with Folder(DEMO) as model:
            expected = unmask("batch", "--model", model.path, "-i", self.input, "-o", self.output)
            self.assertEqual(expected.code, 0, "a copy of the model is the same model")
            file = model.path / "model.safetensors"
            raw = file.read_bytes()
            size = 8 + int.from_bytes(raw[:8], "little")
            file.write_bytes(raw[:size] + bytes(byte ^ 1 if i % 2 == 0 else byte for i, byte in enumerate(raw[size:])))
            self.assertRefused(unmask("batch", "--model", model.path, "-i", self.input, "-o", self.output), 3, "weights was", "--restart")
        changed = questions(30)
        changed[7]["prompt"] += "?"
        self.write(changed)
        self.assertRefused(self.batch(ranks=2, code=3), 3, "the input changed")
        self.write(questions(29))
        self.assertRefused(self.batch(code=3), 3, "the input changed")
        self.assertEqual(self.output.read_bytes(), before)
        self.write(questions(40))
        self.batch(ranks=2)
        self.assertEqual(self.output.read_bytes()[: len(before)], before, "more lines at the end are welcome")
        self.assertEqual(len(self.lines()), 40)
        journal = pathlib.Path(f"{self.output}.journal")
        journal.unlink()
        self.assertRefused(self.batch(code=3), 3, "no journal")
        self.batch("--restart")

    def test_no_file_overwrites_another(self):
        self.write(questions(3))
        asked, link = self.input.read_bytes(), self.work / "link.jsonl"
        self.batch()
        answers, journal = self.output.read_bytes(), pathlib.Path(f"{self.output}.journal")
        link.symlink_to(self.input)
        for wrong in (["-o", self.input], ["-o", link], ["--summary", self.input], ["--summary", self.output], ["--summary", journal]):
            for ranks in (0, 2):
                with self.subTest(wrong=wrong, ranks=ranks):
                    self.assertRefused(unmask("batch", "--model", DEMO, "-i", self.input, *([] if "-o" in wrong else ["-o", self.output]), "--restart",
                                              *wrong, ranks=ranks), 2, "are one file")
        self.assertRefused(unmask("batch", "--model", DEMO, "-i", self.work / "typo", "-o", self.output, "--restart"), 3, "cannot be read")
        self.assertRefused(self.batch("--restart", "--summary", self.work / "none/s.json", code=6), 6, "s.json: cannot be written")
        self.assertRefused(unmask("batch", "--model", DEMO, "-i", self.input, "-o", self.work), 6, "a regular file")
        self.assertFalse(pathlib.Path(f"{self.work}.journal").exists())
        self.assertEqual((self.input.read_bytes(), self.output.read_bytes()), (asked, answers))
        self.batch("--summary", "/dev/null")

    def test_full_disk(self):
        self.write(questions(2000))
        self.batch()
        whole = self.output.read_bytes()
        self.output = self.work / "second.jsonl"
        with open(self.work / "log", "w") as log:
            job = subprocess.Popen([PROGRAM, "batch", "--model", DEMO, "-i", self.input, "-o", self.output], stderr=log)
        for _ in range(200):
            time.sleep(0.02)
            if self.output.exists() and self.output.stat().st_size > 0:
                break
        limit = self.output.stat().st_size + 1000  # no file may grow beyond it: as a full disk, for this process alone
        resource.prlimit(job.pid, resource.RLIMIT_FSIZE, (limit, limit))
        self.assertEqual(job.wait(timeout=60), 6, (self.work / "log").read_text())
        self.assertIn("make room", (self.work / "log").read_text())
        self.assertLess(self.output.stat().st_size, len(whole))
        self.batch(ranks=2)
        self.assertEqual(self.output.read_bytes(), whole)

    def test_status_and_second_run(self):
        self.write(questions(3000, gen_length=64))
        first = subprocess.Popen([PROGRAM, "batch", "--model", DEMO, "-i", self.input, "-o", self.output, "--sync-every", "5"],
                                 stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                time.sleep(0.1)
                if self.output.exists() and self.output.stat().st_size > 0:
                    break
            result = unmask("batch", "--status", self.output)
            self.assertEqual(result.code, 0, result.err)
            self.assertIn(": running", result.out)
            self.assertRefused(self.batch("--wait-lock", "0.2", code=6), 6, "in use by another run")
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        self.assertIn("killed", unmask("batch", "--status", self.output).out)
        self.assertRefused(unmask("batch", "--status", self.work / "none"), 3, "none")


class Stopped(BatchTest):
    def stop(self, command, how, within, codes):
        size = lambda: self.output.stat().st_size if self.output.exists() else 0
        before = size()
        with open(self.work / "log", "a") as log:
            job = subprocess.Popen([*map(str, command), "batch", "--model", str(DEMO), "-i", str(self.input), "-o", str(self.output),
                                    "--max-rows", "256"],  # so that a run answers a few long before it has answered all
                                   stderr=log)
        try:
            for _ in range(3000):
                time.sleep(0.01)
                if size() > before:  # this run has answered: it knows of signals
                    break
            start = time.monotonic()
            how(job)
            code = job.wait(timeout=30)
            took = time.monotonic() - start
        finally:
            if job.poll() is None:
                job.kill()
                job.wait()
        self.assertIn(code, codes, (self.work / "log").read_text()[-2000:])
        self.assertLess(took, within)

    def test_signals_stop_at_a_step_and_the_job_goes_on(self):
        self.write(questions(1500, gen_length=64))
        mpirun = [*MPIRUN, "-n", "3", PROGRAM]
        usr1 = lambda job: job.send_signal(signal.SIGUSR1)
        term = lambda job: job.send_signal(signal.SIGTERM)
        twice = lambda job: (job.send_signal(signal.SIGTERM), job.send_signal(signal.SIGTERM))
        self.stop(mpirun, usr1, 10, [75])
        self.assertIn("stopped", unmask("batch", "--status", self.output).out)
        self.stop([PROGRAM], term, 10, [75])
        self.stop([PROGRAM], twice, 10, [75, 128 + 15])
        self.stop(mpirun, term, 10, [1, 75])
        result = unmask("batch", "--model", DEMO, "-i", self.input, "-o", self.output, "--max-time", "0.001", ranks=2)
        self.assertEqual(result.code, 75, result.err)
        before = self.output.read_bytes()
        self.batch(ranks=4)
        whole = self.output.read_bytes()
        self.assertEqual(whole[: len(before)], before)
        self.assertEqual([line["id"] for line in self.lines()], [f"q{i}" for i in range(1500)])
        self.batch("--restart", ranks=2)
        self.assertEqual(self.output.read_bytes(), whole)


class Unordered(BatchTest):
    def test_stopped_again_and_again(self):
        self.write(questions(800, gen_length=64))
        for runs in range(40):
            result = unmask("batch", "--model", DEMO, "-i", self.input, "-o", self.output, "--unordered", "--max-rows", "128", "--max-time",
                            f"{0.5 * 1.2**runs:.2f}", ranks=1 + runs % 3)
            self.assertIn(result.code, (0, 75), result.err)
            if result.code == 0:
                break
        self.assertEqual(result.code, 0, "every run gets further")
        self.assertEqual(sorted(line["id"] for line in self.lines()), sorted(f"q{i}" for i in range(800)))
        got = sorted(self.output.read_text().splitlines())
        self.batch("--restart", ranks=2)
        self.assertEqual(sorted(self.output.read_text().splitlines()), got)


if __name__ == "__main__":
    unittest.main()
