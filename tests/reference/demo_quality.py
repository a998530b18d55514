"""The demo's 60 questions with every cache policy and decoder: right answers and passes of the oracle and of unmask.

    python demo_quality.py PROGRAM [--only DECODER] [--smoothing off,on,strong]

Prints a Markdown table: right answers of 60 and passes per answer of the oracle in float32 and of unmask in f32 and bf16.
"differ": questions that f32 answers with other tokens, passes or rows than the oracle.  Ends with 1 if there is one on which
small noise on the logits changes nothing, or if f32 has fewer right answers than the oracle.  Below the table, for each kind of
smoothing: with how many of the rows it takes fewer passes than "off" has, and how many right answers it loses there.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from tokenizers import Tokenizer

from decode import Options, Result, generate
from llada_moe import LladaMoe
from make_golden import firm
from train_demo import ANSWER

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "models/demo"
CACHES = ("none", "prefix", "dual", "vicinity")
DECODERS = ("steps", "threshold", "factor", "credit", "hierarchy")


SMOOTHING = {"off": {}, "on": {"smoothing": True}, "strong": {"smoothing": True, "smoothing_weight": 1.0, "smoothing_cap": 1.15}}


def options(cache: str, decoder: str, smoothing: str) -> Options:
    """As in make_golden.demo."""
    return Options(ANSWER, 16, decoder, steps=ANSWER, threshold=0.9, factor=1.0, low_threshold=0.6, cache=cache, look_before=8,
                   look_after=8, **SMOOTHING[smoothing])


def run(program: str, dtype: str, questions: list[dict], opt: Options) -> list[dict]:
    lines = "".join(json.dumps({"id": str(i), "prompt_tokens": q["prompt"], **asdict(opt)}) + "\n" for i, q in enumerate(questions))
    done = subprocess.run([program, "generate", "--model", str(DEMO), "--requests", "-", "--dtype", dtype, "--log-level", "warning"],
                          input=lines, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{program} ended with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(answer: dict, expected: Result) -> bool:
    return (answer["tokens"], answer["passes"], answer["rows"]) == (expected.tokens, expected.passes, expected.rows)


def compare_with_off(smoothing: str, off: dict, on: dict) -> str:
    """off, on: (right answers, passes) of f32 by cache and decoder."""
    fewer, more = sum(on[k][1] < off[k][1] for k in on), sum(on[k][1] > off[k][1] for k in on)
    lost = {k: off[k][0] - on[k][0] for k in on if on[k][0] < off[k][0]}
    return (f"smoothing {smoothing}: of {len(on)} rows {fewer} take fewer passes and {more} more; right answers lost: "
            + (", ".join(f"{n} ({cache}, {decoder})" for (cache, decoder), n in lost.items()) or "none"))


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("program")
    ap.add_argument("--only", choices=DECODERS)
    ap.add_argument("--smoothing", default="off,on,strong")
    args = ap.parse_args()
    torch.set_num_threads(1)
    questions = json.loads((ROOT / "tests/data/demo/decode.json").read_text())
    model, tok = LladaMoe.load(DEMO), Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    eos = model.config.eos_token_id

    def right(answers: list[list[int]]) -> int:
        texts = (tok.decode(t[: t.index(eos)] if eos in t else t) for t in answers)
        return sum(text == q["answer"] for text, q in zip(texts, questions, strict=True))

    def passes(counts) -> str:
        return f"{sum(counts) / len(questions):.2f}"

    failed = False
    found: dict[str, dict] = {}
    print("| cache | decoder | smoothing | oracle: right | passes | f32: right | passes | differ | bf16: right | passes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for smoothing in args.smoothing.split(","):
        for cache, decoder in ((c, d) for c in CACHES for d in DECODERS):
            if args.only and args.only != decoder:
                continue
            opt = options(cache, decoder, smoothing)
            oracle = [generate(model, q["prompt"], opt) for q in questions]
            f32, bf16 = (run(args.program, dtype, questions, opt) for dtype in ("f32", "bf16"))
            others = [i for i, (a, e) in enumerate(zip(f32, oracle, strict=True)) if not same(a, e)]
            failed |= any(firm(model, questions[i]["prompt"], opt, oracle[i]) for i in others)
            expected, got = right([e.tokens for e in oracle]), right([a["tokens"] for a in f32])
            failed |= got < expected
            found.setdefault(smoothing, {})[cache, decoder] = got, sum(a["passes"] for a in f32)
            print(f"| {cache} | {decoder} | {smoothing} | {expected} | {passes(e.passes for e in oracle)} | {got} | "
                  f"{passes(a['passes'] for a in f32)} | {len(others)} | {right([a['tokens'] for a in bf16])} | "
                  f"{passes(a['passes'] for a in bf16)} |", flush=True)
    for smoothing, rows in found.items():
        if smoothing != "off" and "off" in found:
            print(compare_with_off(smoothing, found["off"], rows))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
