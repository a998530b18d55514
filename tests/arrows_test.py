#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the #include lines and fails on a wrong arrow: who may include whom, and where foreign headers may appear (DESIGN.md
section 1). Also: every path and link in a *.md exists, every option of unmask in README.md and SECURITY.md is in the option
table, files carry their SPDX line, and none of the program's is longer than 300 lines."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
MAY_INCLUDE = {
    "base": {"base"},
    "cluster": {"base", "cluster"},
    "comm": {"base", "cluster", "comm"},
    "experts": {"base", "cluster", "experts"},
    "runtime": {"base", "cluster", "comm", "experts", "runtime"},
    "bench": {"base", "cluster", "comm", "experts", "runtime", "bench"},
    "launcher": {"base", "cluster", "comm", "experts", "runtime", "bench", "launcher"},
}
FOREIGN = {  # header: folders (of the program) that may include it
    r"fmt/|spdlog/": ("base/",),
    r"hwloc": ("cluster/",),
    r"mpi\.h": ("comm/mpi/",),
    r"pcre2|utf8proc": ("runtime/",),
    r"CLI/": ("launcher/", "bench/"),
    r"zstd": ("launcher/",),
    r"nlohmann/": ("cluster/", "comm/", "experts/", "runtime/", "bench/", "launcher/"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
SOURCES = (".h", ".cpp", ".cu", ".cuh")
problems = []


def files(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SOURCES and path.is_file():
                yield path.relative_to(ROOT).as_posix(), path.read_text()


checked = 0
for name, text in files(*MAY_INCLUDE):
    room = name.split("/")[0]
    for quote, header in INCLUDE.findall(text):
        checked += 1
        if quote == '"' and header.split("/")[0] not in MAY_INCLUDE[room]:
            problems.append(f"{name} includes {header}: {room}/ may include {', '.join(sorted(MAY_INCLUDE[room]))}")
        for pattern, homes in FOREIGN.items():
            if re.match(pattern, header) and not name.startswith(homes):
                problems.append(f"{name} includes <{header}>: that header lives in {', '.join(homes)}")
if checked < 100:
    problems.append(f"only {checked} includes were read: this test looks at the wrong place")

for name, text in files(*MAY_INCLUDE, "tests"):
    if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
        problems.append(f"{name} has no SPDX line")
    if text.count("\n") > 300 and name.split("/")[0] in MAY_INCLUDE:
        problems.append(f"{name} has {text.count(chr(10))} lines: split it by stage")

PATH = re.compile(r"`((?:base|cluster|comm|experts|runtime|launcher|models|tests|bench|docs|scripts|\.ci)/[\w./-]*)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*.md")]:
    text = page.read_text()
    for path in [ROOT / path for path in PATH.findall(text)] + [page.parent / path for path in LINK.findall(text)]:
        if not path.exists():
            problems.append(f"{page.relative_to(ROOT)} names {path.relative_to(ROOT)}, which does not exist")

# Options in running text are alone in their backticks; in examples they stand behind `unmask COMMAND`.
KNOWN = {"help", "version", *re.findall(r'\{\.name = "([\w-]+)"', (ROOT / "launcher/options/option_table.cpp").read_text())}
NAMED = re.compile(r"`--([\w-]+)")
EXAMPLE = re.compile(r"unmask (?:generate|logits|tokenize|detokenize|info|check|bench) (.*)")
for page in ("README.md", "SECURITY.md"):
    text = (ROOT / page).read_text()
    named = NAMED.findall(text) + [name for rest in EXAMPLE.findall(text) for name in re.findall(r"--([\w-]+)", rest)]
    if page == "README.md" and len(named) < 10:
        problems.append(f"only {len(named)} options were found in {page}: this test looks at the wrong place")
    problems += [f"{page} names --{name}, which unmask does not have" for name in named if name not in KNOWN]

for problem in problems:
    print(problem, file=sys.stderr)
print(f"{checked} includes, {len(problems)} problems")
sys.exit(1 if problems else 0)
