#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo model's 60 questions as request lines, and the score of the answers.

    demo_questions.py ask   > requests.jsonl
    demo_questions.py score < answers.jsonl
    demo_questions.py expect > answers.txt      # the right ones, for: unmask bench quality --requests ... --expect answers.txt

Or as questions with answers, for eval.py: the 60, or N others of the same tasks that the model was not trained on.

    demo_questions.py eval [N] > questions.jsonl
"""
import json
import pathlib
import random
import sys

CASES = json.loads((pathlib.Path(__file__).parents[1] / "tests/data/demo/decode.json").read_text())


def ask() -> None:
    for i, case in enumerate(CASES):
        print(json.dumps({"id": f"{case['task']}-{i}", "prompt": case["question"], "gen_length": 48, "block_length": 16,
                          "decoder": "threshold", "threshold": 0.9, "cache": "dual"}))


def score() -> int:
    answers = [json.loads(line) for line in sys.stdin if line.strip()]
    if len(answers) != len(CASES):
        print(f"expected {len(CASES)} answers, found {len(answers)}", file=sys.stderr)
        return 1
    run = answers[-1]["run"]
    right = sum(answer.get("text") == case["answer"] for answer, case in zip(answers, CASES))
    passes = sum(answer.get("passes", 0) for answer in answers) / len(answers)
    print(f"{right} of {len(CASES)} right, {passes:.1f} passes per answer, {run['tokens_per_pass']:.1f} tokens per pass, "
          f"{run['tokens_per_second']:.0f} tokens/s on {run['ranks']} ranks with {run['threads']} threads each, "
          f"{run['dtype']}, kernels {run['kernel']}")
    for answer, case in list(zip(answers, CASES))[:5]:
        print(f"  {case['question']:<50} {answer.get('text')}")
    return 0


def questions(count: int) -> None:
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests/reference"))
    import tasks
    chosen = {case["question"]: case["answer"] for case in CASES}
    if count > 0:
        asked, chosen, r = set(chosen), {}, random.Random(2026)
        while len(chosen) < count:
            _, question, answer = tasks.sample(r)
            if question not in asked and tasks.held_out(question):
                chosen[question] = answer
    for question, answer in chosen.items():
        print(json.dumps({"question": question, "answer": answer, "gen_length": 48, "block_length": 16}))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "eval" and sys.argv[2].isdigit():
        sys.exit(questions(int(sys.argv[2])))
    if len(sys.argv) != 2 or sys.argv[1] not in ("ask", "score", "expect", "eval"):
        sys.exit(__doc__)
    sys.exit({"ask": ask, "score": score, "expect": lambda: print(*(case["answer"] for case in CASES), sep="\n"), "eval": lambda: questions(0)}[sys.argv[1]]())
