#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws one layer of a trace (unmask ... --trace FILE) as SVG: trace_picture.py TRACE.json OUT.svg [--layer N] [--layers COUNT]

Every rank has a band: what its team does, and below it the messages of each lane and direction, on one common time axis. Of
several layers, such as those of two micro-batches, every other one is paler."""
import argparse
import html
import json

WIDTH, LEFT, ROW, GAP = 1000, 130, 22, 26
COLOURS = {"experts": "#3b7dd8", "wait for routing": "#d9534f", "wait for rows": "#d9534f", "wait for sums": "#d9534f", "pack and send": "#9b8ac4",
           "lay out": "#b9aed6", "take rows": "#7fb2a0", "give back": "#e0a84e", "sum": "#6aa84f", "the rest of the layer": "#d0d0d0"}
MESSAGES = "#8fb8de"


def label(event):
    chunk = event["args"].get("chunk")
    size = event["args"].get("bytes")
    text = event["name"] if chunk is None else f"{event['name']}, chunk {chunk}"
    return text + (f", {size / 1e3:.0f} kB" if size else "") + f": {event['dur'] / 1e3:.2f} ms"


def draw(events, layers):
    names = {(e["pid"], e["name"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    spans = [e for e in events if e["ph"] == "X" and e["args"]["layer"] in layers and e["name"] != "the rest of the layer"]
    begin, end = min(e["ts"] for e in spans), max(e["ts"] + e["dur"] for e in spans)
    scale = (WIDTH - LEFT - 10) / (end - begin)
    ranks, tracks = sorted({e["pid"] for e in spans}), sorted({e["tid"] for e in spans})
    height = 60 + len(ranks) * (len(tracks) * ROW + GAP) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for i, (name, colour) in enumerate((k, v) for k, v in COLOURS.items() if k in {e["name"] for e in spans} and not k.startswith("wait")):
        out.append(f'<rect x="{LEFT + i * 105}" y="8" width="10" height="10" fill="{colour}"/><text x="{LEFT + 14 + i * 105}" y="17">{name}</text>')
    out.append(f'<rect x="{LEFT}" y="24" width="10" height="10" fill="#d9534f"/><text x="{LEFT + 14}" y="33">waiting</text>')
    out.append(f'<rect x="{LEFT + 105}" y="24" width="10" height="10" fill="{MESSAGES}"/><text x="{LEFT + 119}" y="33">messages</text>')
    top = 56
    for rank in ranks:
        out.append(f'<text x="4" y="{top - 4}" font-weight="bold">{html.escape(names[(rank, "process_name", 0)])}</text>')
        for track in tracks:
            out.append(f'<text x="12" y="{top + 15}">{names[(rank, "thread_name", track)]}</text>')
            out.append(f'<line x1="{LEFT}" y1="{top + ROW - 1}" x2="{WIDTH - 10}" y2="{top + ROW - 1}" stroke="#eeeeee"/>')
            for e in (s for s in spans if s["pid"] == rank and s["tid"] == track):
                x, width = LEFT + (e["ts"] - begin) * scale, max(e["dur"] * scale, 0.4)
                colour = COLOURS.get(e["name"], MESSAGES)
                out.append(f'<rect x="{x:.1f}" y="{top + 2}" width="{width:.1f}" height="{ROW - 5}" fill="{colour}" stroke="white" '
                           f'stroke-width="0.4" opacity="{0.55 if (e["args"]["layer"] - layers[0]) % 2 else 1}"><title>{html.escape(label(e))}</title></rect>')
                if width > 22 and "chunk" in e["args"]:
                    out.append(f'<text x="{x + 3:.1f}" y="{top + 15}" fill="{"white" if colour != MESSAGES else "black"}">{e["args"]["chunk"]}</text>')
            top += ROW
        top += GAP
    for i in range(11):
        x = LEFT + (WIDTH - LEFT - 10) * i / 10
        out.append(f'<text x="{x:.0f}" y="{top}" text-anchor="{"end" if i == 10 else "middle"}" fill="#666666">{(end - begin) * i / 10 / 1e3:.1f} ms</text>')
    return "\n".join(out + ["</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trace")
    parser.add_argument("out")
    parser.add_argument("--layer", type=int, help="which exchange, counted from 1 on (the last one)")
    parser.add_argument("--layers", type=int, default=1, help="how many, beginning with it")
    options = parser.parse_args()
    with open(options.trace) as file:
        events = json.load(file)["traceEvents"]
    last = max(e["args"]["layer"] for e in events if e["ph"] == "X" and e["name"] == "sum")
    first = options.layer or last - options.layers + 1
    with open(options.out, "w") as file:
        file.write(draw(events, range(first, first + options.layers)))


if __name__ == "__main__":
    main()
