# SPDX-License-Identifier: Apache-2.0
"""The program with a simulated GPU, from outside: device_cli_test.py PROGRAM."""
import json
import os
import subprocess
import sys

PROGRAM = sys.argv[1]
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
DEMO = os.path.join(SOURCE, "models", "demo")
PLAIN = os.path.join(SOURCE, "tests", "data", "plain")


def run(*arguments, code=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=200)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done


def check_info():
    gpu = json.loads(run("info", "--json").stdout)["gpu"]
    assert gpu["chosen_by_auto"] is False and "simulator only" in gpu["note"], gpu
    assert len(gpu["devices"]) >= 1, gpu
    assert "simulator only" in run("info").stdout


def answer(*arguments):
    prompt = ["--prompt", "What is 3 + 4?", "--gen-length", "32", "--dtype", "f32", "--json"]
    return json.loads(run("generate", "--model", DEMO, *prompt, *arguments).stdout)


def check_generate():
    on_cpu = answer()
    on_gpu = answer("--device", "cuda")
    assert on_gpu["run"]["device"] == "cuda" and on_cpu["run"]["device"] == "cpu", on_gpu["run"]
    two = answer("--device", "cuda", "--transport", "threads:2")
    for got in (on_gpu, two):
        for key in ("text", "tokens", "passes", "rows"):
            assert got[key] == on_cpu[key], (key, got[key], on_cpu[key])


def check_refusals():
    refused = run("generate", "--model", DEMO, "--prompt", "x", "--device", "cuda", "--dtype", "int8", code=3)
    assert "int8" in refused.stderr and "--device cpu" in refused.stderr, refused.stderr
    refused = run("generate", "--model", DEMO, "--prompt", "x", "--device", "tpu", code=2)
    assert "tpu" in refused.stderr, refused.stderr


check_info()
check_generate()
check_refusals()
print("info, generate and refusals with a simulated GPU: as expected")
