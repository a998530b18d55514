#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Questions with reference answers through `unmask batch`, and the share that is right.

    eval.py questions.jsonl --model DIR [--work FOLDER] [--launch "mpirun -n 8"] [--check COMMAND] [-- options of unmask batch]

A line of questions.jsonl has "question" and "answer", and may have "id" and sampling options. Exact match compares the texts
without blanks around them. --check runs a command of yours for every answer, with {"question", "answer", "text"} as JSON on
standard input; exit status 0 counts as right (pass@1). A run that ends early goes on when the same command is given again."""
import argparse
import json
import pathlib
import shlex
import subprocess
import sys

OURS = ("question", "answer")


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("eval"))
    parser.add_argument("--launch", default="")
    parser.add_argument("--unmask", default="unmask")
    parser.add_argument("--check", default="")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    arguments = parser.parse_args(own)

    questions = read_lines(arguments.questions)
    if lacking := [i for i, q in enumerate(questions, 1) if any(key not in q for key in OURS)]:
        parser.error(f"question {lacking[0]} of {arguments.questions} has no \"question\" or no \"answer\"")
    arguments.work.mkdir(parents=True, exist_ok=True)
    requests, answers = arguments.work / "requests.jsonl", arguments.work / "answers.jsonl"
    lines = [{"id": q.get("id", str(i)), "prompt": q["question"], **{k: v for k, v in q.items() if k not in (*OURS, "id")}}
             for i, q in enumerate(questions)]
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))

    command = [*shlex.split(arguments.launch), arguments.unmask, "batch", "--model", arguments.model, "-i", requests, "-o", answers, *more]
    code = subprocess.run(list(map(str, command))).returncode
    if code not in (0, 5):
        print(f"eval.py: unmask batch ended with {code}; give the same command again to go on", file=sys.stderr)
        return code

    results = read_lines(answers)
    exact = passed = failed = 0
    for question, result in zip(questions, results, strict=True):
        text = result.get("text")
        failed += text is None
        exact += text is not None and text.strip() == str(question["answer"]).strip()
        if arguments.check and text is not None:
            case = json.dumps({"question": question["question"], "answer": question["answer"], "text": text})
            passed += subprocess.run(arguments.check, shell=True, input=case, text=True, stdout=subprocess.DEVNULL).returncode == 0
    count = len(questions)
    passes = sum(result.get("passes", 0) for result in results) / max(1, count - failed)
    print(f"exact match: {exact} of {count} ({exact / max(1, count):.1%}), {failed} without an answer, {passes:.1f} passes per answer")
    if arguments.check:
        print(f"pass@1: {passed} of {count} ({passed / max(1, count):.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
