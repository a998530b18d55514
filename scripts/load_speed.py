#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a model of several GB loads, beside plain reading of the same bytes: a checkpoint folder and its packed forms.

    scripts/load_speed.py [--folder FOLDER] [--build build/release] [--layers 4] [--repeat 5] [--only NAME]

Makes the 7B shape with so many layers (make_checkpoint, seed 7) and packs it, once, in FOLDER (default: build/load-speed; 15 GB with
four layers). Then, in turn and with as many threads as cores: the file is read through one small buffer per thread, is read into
memory that is new and as large as the file (what any loader has to do), and is loaded by `unmask generate` (seconds.load). Each with
the file in the page cache, and again after it was dropped from there. Prints medians in GB/s.
"""
import argparse
import concurrent.futures
import json
import mmap
import os
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = ROOT / "tests/data/configs/llada-moe-7b-a1b.json"
PIECE = 4 << 20
THREADS = len(os.sched_getaffinity(0))


def make(args):
    """{name: files} of the models, made where they are missing."""
    source = args.folder / "checkpoint"
    if not (source / "config.json").exists():
        args.folder.mkdir(parents=True, exist_ok=True)
        config = args.folder / "config.json"
        whole = json.loads(CONFIG.read_text())
        per_layer = {key: value[: args.layers] for key, value in whole.items() if isinstance(value, list) and len(value) == whole["num_hidden_layers"]}
        config.write_text(json.dumps(whole | per_layer | {"num_hidden_layers": args.layers}))
        subprocess.run([args.build / "bin/make_checkpoint", "--config", config, "--output", source, "--seed", "7"], check=True)
    models = {"folder": (source, sorted(source.glob("*.safetensors")))}
    for dtype in ("bf16", "int8", "int4"):
        file = args.folder / f"{dtype}.packed"
        if not file.exists():
            subprocess.run([args.build / "bin/unmask", "pack", "--model", source, "--dtype", dtype, "--output", file], check=True)
        models[f"packed, {dtype}"] = (file, [file])
    return models


def pieces(files):
    return [(file, at, min(PIECE, file.stat().st_size - at)) for file in files for at in range(0, file.stat().st_size, PIECE)]


def read(files, new_memory):
    """Seconds."""
    work = pieces(files)
    memory = None
    if new_memory:
        memory = mmap.mmap(-1, sum(size for _, _, size in work), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    places, at = [], 0
    for _, _, size in work:
        places.append(at)
        at += size
    opened = {file: os.open(file, os.O_RDONLY) for file in files}

    def run(member):
        small = memoryview(bytearray(PIECE))
        large = memoryview(memory) if new_memory else None
        for i in range(member, len(work), THREADS):
            file, begin, size = work[i]
            into = large[places[i] : places[i] + size] if new_memory else small[:size]
            while into:
                got = os.preadv(opened[file], [into], begin)
                into, begin = into[got:], begin + got

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        start = time.monotonic()
        list(pool.map(run, range(THREADS)))
        seconds = time.monotonic() - start
    for descriptor in opened.values():
        os.close(descriptor)
    return seconds


def load(program, model):
    command = [program, "generate", "--model", model, "--prompt-tokens", "1,2,3", "--mask-token-id", "156895", "--gen-length", "1", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])["run"]["seconds"]["load"]


def drop(files):
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/load-speed")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", help="one of: folder, bf16, int8, int4")
    args = parser.parse_args()
    models = make(args)
    print("| model | GB | from | plain read, GB/s | read into new memory, GB/s | load, GB/s | load / read into new memory |")
    print("|---|---|---|---|---|---|---|")
    for name, (model, files) in models.items():
        if args.only and not name.endswith(args.only):
            continue
        size = sum(file.stat().st_size for file in files)
        for where in ("page cache", "disk"):
            rows = []
            if where == "page cache":
                read(files, False)
            for _ in range(args.repeat):
                row = []
                for measure in (lambda: read(files, False), lambda: read(files, True), lambda: load(args.build / "bin/unmask", model)):
                    if where == "disk":
                        drop(files)
                    row.append(measure())
                rows.append(row)
            plain, new, loaded = (size * 1e-9 / statistics.median(column) for column in zip(*rows))
            ratio = statistics.median(row[1] / row[2] for row in rows)
            print(f"| {name} | {size * 1e-9:.2f} | {where} | {plain:.2f} | {new:.2f} | {loaded:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
