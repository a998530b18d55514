#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws tokens per pass and right answers of the demo's 60 questions over the threshold, as SVG.

    plot_thresholds.py PROGRAM docs/thresholds.svg
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = json.loads((ROOT / "tests/data/demo/decode.json").read_text())
THRESHOLDS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99]
LINES = [("none", "#1f6fb2"), ("dual", "#d1603d")]  # cache, colour
WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 720, 470, 70, 30, 46, 52
PANEL = (HEIGHT - TOP - 2 * GAP) / 2


def measure(program, cache, threshold):
    """(tokens per pass, right answers): end tokens are not counted."""
    lines = "".join(json.dumps({"prompt": case["question"], "gen_length": 48, "block_length": 16, "decoder": "threshold",
                                "threshold": threshold, "cache": cache}) + "\n" for case in CASES)
    done = subprocess.run([program, "generate", "--model", str(ROOT / "models/demo"), "--requests", "-", "--log-level", "warning"],
                          input=lines, stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    right = sum(answer["text"] == case["answer"] for answer, case in zip(answers, CASES))
    return answers[-1]["run"]["tokens_per_pass"], right


def x_of(threshold):
    return LEFT + (threshold - 0.25) / 0.8 * (WIDTH - LEFT - RIGHT)


def panel(top, title, curves, ticks):
    """One diagram: curves are lists of values by threshold, the axis goes from the first to the last tick."""
    def y_of(value):
        return top + PANEL * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))

    out = [f'<text x="{LEFT}" y="{top - 12:.1f}" font-weight="bold">{title}</text>']
    for tick in ticks:
        y = y_of(tick)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for threshold in THRESHOLDS:
        x = x_of(threshold)
        out.append(f'<line x1="{x:.1f}" y1="{top + PANEL:.1f}" x2="{x:.1f}" y2="{top + PANEL + 4:.1f}" stroke="#666"/>')
        if threshold != 0.85:
            out.append(f'<text x="{x:.1f}" y="{top + PANEL + 18:.1f}" text-anchor="middle">{threshold}</text>')
    for (_, colour), values in zip(LINES, curves):
        points = [(x_of(threshold), y_of(value)) for threshold, value in zip(THRESHOLDS, values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return out


def picture(measured):
    speed = [[tokens for tokens, _ in measured[cache]] for cache, _ in LINES]
    right = [[count for _, count in measured[cache]] for cache, _ in LINES]
    most = int(max(map(max, speed))) + 1
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#222">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    out += panel(TOP, "tokens per pass (end tokens not counted)", speed, list(range(most + 1)))
    out += panel(TOP + PANEL + GAP + 10, "right answers of 60", right, list(range(0, 61, 15)))
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">threshold</text>')
    for i, (cache, colour) in enumerate(LINES):
        x = WIDTH - RIGHT - 190 + 100 * i
        out.append(f'<line x1="{x}" y1="22" x2="{x + 22}" y2="22" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{x + 28}" y="26">cache {cache}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    measured = {cache: [measure(sys.argv[1], cache, threshold) for threshold in THRESHOLDS] for cache, _ in LINES}
    for i, threshold in enumerate(THRESHOLDS):
        print(threshold, *(f"{cache}: {measured[cache][i][0]:.2f} tokens per pass, {measured[cache][i][1]} right" for cache, _ in LINES))
    pathlib.Path(sys.argv[2]).write_text(picture(measured))


if __name__ == "__main__":
    main()
