# SPDX-License-Identifier: Apache-2.0
"""What the compare_*.py scripts share: another program beside `unmask bench`, in turn; each has the machine to itself."""
import argparse
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).parents[1]
CONFIG_7B = ROOT / "tests/data/configs/llada-moe-7b-a1b.json"
WANTED = 32  # rows of a pass whose logits are asked for


def options(description, passes=False):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unmask", default=str(ROOT / "build/release/bin/unmask"))
    parser.add_argument("--rows", default="32,1024", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    if passes:
        parser.add_argument("--layers", type=int, default=4)
    return parser


def cut_of_7b(folder, layers):
    """A config.json of the 7B shape with so many layers."""
    config = json.loads(CONFIG_7B.read_text())
    config["num_hidden_layers"] = layers
    config["moe_layer_freq"] = [1] * layers
    file = pathlib.Path(folder) / "config.json"
    file.write_text(json.dumps(config))
    return file


def unmask_ms(args, bench, rows, *extra, config="llada-moe-7b"):
    out = subprocess.run([args.unmask, "bench", bench, "--config", str(config), "--tokens", str(rows), "--repeat", "3",
                          "--threads", str(args.threads), "-o", "json", "--log-level", "error", *map(str, extra)],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)[0]["median_ms"]


def compare(args, name, prepare, ours=None):
    """prepare(rows) returns what measures the other program once, in milliseconds; `ours` measures unmask, one layer's experts if not given."""
    ours = ours or (lambda rows: unmask_ms(args, "gemm", rows))
    print(f"| rows | {name} ms | unmask ms | {name} / unmask |\n|---|---|---|---|", flush=True)
    for rows in args.rows:
        measure = prepare(rows)
        pairs = [(measure(), ours(rows)) for _ in range(args.rounds)]
        theirs, mine = (statistics.median(side) for side in zip(*pairs))
        print(f"| {rows} | {theirs:.1f} | {mine:.1f} | {statistics.median(a / b for a, b in pairs):.2f} |", flush=True)
