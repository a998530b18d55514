# SPDX-License-Identifier: Apache-2.0
"""What the compare_*.py scripts share: the experts of one MoE layer of the 7B shape in another program beside `unmask bench gemm`,
in turn; both have the machine to themselves."""
import argparse
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).parents[1]


def options(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unmask", default=str(ROOT / "build/release/bin/unmask"))
    parser.add_argument("--rows", default="32,1024", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def unmask_ms(args, rows):
    out = subprocess.run([args.unmask, "bench", "gemm", "--config", "llada-moe-7b", "--tokens", str(rows), "--repeat", "3",
                          "--threads", str(args.threads), "-o", "json", "--log-level", "error"],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)[0]["median_ms"]


def compare(args, name, prepare):
    """prepare(rows) returns what measures the other program once, in milliseconds."""
    print(f"| rows | {name} ms | unmask ms | {name} / unmask |\n|---|---|---|---|", flush=True)
    for rows in args.rows:
        measure = prepare(rows)
        pairs = [(measure(), unmask_ms(args, rows)) for _ in range(args.rounds)]
        theirs, ours = (statistics.median(side) for side in zip(*pairs))
        print(f"| {rows} | {theirs:.1f} | {ours:.1f} | {statistics.median(a / b for a, b in pairs):.2f} |", flush=True)
