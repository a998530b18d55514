# SPDX-License-Identifier: Apache-2.0
"""The program with a simulated GPU, from outside: device_cli_test.py PROGRAM."""
import json
import os
import subprocess
import sys
import tempfile

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


def answer(*arguments, dtype="f32"):
    prompt = ["--prompt", "What is 3 + 4?", "--gen-length", "32", "--dtype", dtype, "--json"]
    return json.loads(run("generate", "--model", DEMO, *prompt, *arguments).stdout)


def check_generate():
    on_cpu = answer()
    on_gpu = answer("--device", "cuda")
    assert on_gpu["run"]["device"] == "cuda" and on_cpu["run"]["device"] == "cpu", on_gpu["run"]
    two = answer("--device", "cuda", "--transport", "threads:2")
    for got in (on_gpu, two):
        for key in ("text", "tokens", "passes", "rows"):
            assert got[key] == on_cpu[key], (key, got[key], on_cpu[key])


def check_int8():
    # Sums in bf16 differ from a processor's in their last bits: of this answer no token hangs on them.
    on_cpu = answer(dtype="int8")
    on_gpu = answer("--device", "cuda", dtype="int8")
    two = answer("--device", "cuda", "--transport", "threads:2", dtype="int8")
    assert on_gpu["run"]["device"] == "cuda" and on_gpu["run"]["dtype"] == "int8", on_gpu["run"]
    for key in ("text", "tokens", "passes", "rows"):
        assert on_gpu[key] == two[key] == on_cpu[key], (key, on_gpu[key], two[key], on_cpu[key])


def check_wgmma():
    by_mma = answer("--device", "cuda", dtype="bf16")
    by_wgmma = run("generate", "--model", DEMO, "--prompt", "What is 3 + 4?", "--gen-length", "32", "--json", "--device", "cuda",
                   "--device-kernel", "wgmma")
    assert "simulator only" in by_wgmma.stderr, by_wgmma.stderr
    assert json.loads(by_wgmma.stdout)["tokens"] == by_mma["tokens"]
    for more, code in ((["--device", "cuda", "--dtype", "int8"], 3), (["--device", "cuda", "--dtype", "f32"], 3), (["--device", "cpu"], 2)):
        refused = run("generate", "--model", DEMO, "--prompt", "x", "--device-kernel", "wgmma", *more, code=code)
        assert "--device-kernel wgmma" in refused.stderr, refused.stderr


def check_packed_int8():
    with tempfile.TemporaryDirectory() as folder:
        packed = os.path.join(folder, "demo.int8")
        run("pack", "--model", DEMO, "--dtype", "int8", "--output", packed)
        found = json.loads(run("generate", "--model", packed, "--prompt", "What is 3 + 4?", "--gen-length", "32", "--json", "--device", "cuda").stdout)
        assert found["tokens"] == answer("--device", "cuda", dtype="int8")["tokens"], found


def check_refusals():
    refused = run("generate", "--model", DEMO, "--prompt", "x", "--device", "cuda", "--dtype", "int4", code=3)
    assert "int4" in refused.stderr and "int8" in refused.stderr and "--device cpu" in refused.stderr, refused.stderr
    refused = run("generate", "--model", DEMO, "--prompt", "x", "--device", "tpu", code=2)
    assert "tpu" in refused.stderr, refused.stderr


check_info()
check_generate()
check_int8()
check_packed_int8()
check_wgmma()
check_refusals()
print("info, generate and refusals with a simulated GPU: as expected")
