#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads and runs the true LLaDA-MoE-7B-A1B shape with random weights, on 1, 2 and 4 ranks, and measures memory.

    scripts/full_size.py [--folder FOLDER] [--build build/release] [--ranks 1,2,4] [--config FILE]

Needs some 15 GB of disk and 17 GB of memory. The checkpoint is made once (make_checkpoint, seed 7) and kept in FOLDER
(default: build/full-size). Per run it prints the sum over ranks of the highest proportional set size (PSS, from
/proc/PID/smaps_rollup, sampled ten times a second) and compares it with the weights of the network, once. Fails where that
ratio is above 1.05, where the ranks together read more than those weights, or where runs answer differently.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = ROOT / "tests/data/configs/llada-moe-7b-a1b.json"
LIMIT = 1.05
READ_LIMIT = 1.0001  # each rank reads all norms


def weight_bytes(config: dict) -> int:
    """The network's weights: experts, embedding, attention, router and head."""
    h, v, layers = config["hidden_size"], config["vocab_size"], config["num_hidden_layers"]
    experts = layers * config["num_experts"] * 3 * h * config["expert_intermediate_size"]
    shared = 2 * v * h + layers * (4 * h * h + config["num_experts"] * h)
    return 2 * (experts + shared)


def children(pid: int) -> list[int]:
    found = []
    for task in pathlib.Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            for child in task.read_text().split():
                found += [int(child), *children(int(child))]
        except OSError:
            pass
    return found


def pss(pid: int) -> int:
    try:
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() != "unmask":
            return 0
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run(program: pathlib.Path, folder: pathlib.Path, ranks: int) -> dict:
    command = [str(program), "generate", "--model", str(folder), "--prompt-tokens", ",".join(str(100 + i) for i in range(16)),
               "--mask-token-id", "156895", "--gen-length", "8", "--block-length", "8", "--decoder", "steps", "--steps", "2",
               "--stop-at-eos", "off", "--json"]
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]
    start = time.monotonic()
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    peak = 0
    while job.poll() is None:
        peak = max(peak, sum(map(pss, {job.pid, *children(job.pid)})))
        time.sleep(0.1)
    if job.returncode != 0:
        sys.exit(f"full_size: {' '.join(command)} ended with {job.returncode}")
    answer = json.loads(job.stdout.read().splitlines()[-1])
    return {"peak": peak, "wall": time.monotonic() - start, **answer}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/full-size")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--config", type=pathlib.Path, default=CONFIG, help="of the checkpoint in FOLDER, where it is another one")
    args = parser.parse_args()
    if os.geteuid() == 0:
        os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if not (args.folder / "config.json").exists():
        subprocess.run([args.build / "bin/make_checkpoint", "--config", args.config, "--output", args.folder, "--seed", "7"], check=True)
    config = json.loads(args.config.read_text())
    failed, first = 0, None
    held = weight_bytes(config)
    print("| ranks | weights | peak PSS, all ranks | ratio | peak_memory_bytes, sum | load | decode, 2 passes of 24 rows | bytes read per rank |")
    print("|---|---|---|---|---|---|---|---|")
    for ranks in map(int, args.ranks.split(",")):
        result = run(args.build / "bin/unmask", args.folder, ranks)
        ratio = result["peak"] / held
        read = ", ".join(f"{b / 1e9:.2f} GB" for b in result["run"]["bytes_read"])
        print(f"| {ranks} | {held / 1e9:.2f} GB | {result['peak'] / 1e9:.2f} GB | {ratio:.3f} "
              f"| {sum(result['run']['peak_memory_bytes']) / 1e9:.2f} GB | {result['run']['seconds']['load']:.1f} s "
              f"| {result['run']['seconds']['decode']:.1f} s | {read} |", flush=True)
        first = first or result["tokens"]
        failed |= ratio > LIMIT or sum(result["run"]["bytes_read"]) > READ_LIMIT * held or result["tokens"] != first
    print("FAILED" if failed else "passed: same tokens, ratios within", LIMIT)
    return failed


if __name__ == "__main__":
    sys.exit(main())
