#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to text: installs what is missing, builds, and answers questions with the demo model on two ranks.
#   scripts/demo.sh [--ranks N]
set -euo pipefail
cd "$(dirname "$0")/.."

ranks=2
if [ $# -gt 0 ]; then
  if [ "$1" != --ranks ] || [ $# -ne 2 ] || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
    sed -n '3,4p' "$0" >&2
    exit 2
  fi
  ranks=$2
fi

scripts/install-deps.sh
mkdir -p build
cmake --preset release -DUNMASK_TESTS=OFF >build/configure-release.log 2>&1 || { cat build/configure-release.log >&2; exit 1; }
cmake --build --preset release --target unmask

# Left alone, Open MPI binds two ranks to one core each; unbound, they share all cores of the machine.
mpirun=(mpirun --bind-to none -n "$ranks")
if [ "$ranks" -gt "$(nproc)" ]; then
  mpirun+=(--oversubscribe)
fi
if [ "$(id -u)" -eq 0 ]; then  # in a container; Open MPI wants to be told
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

show=off
if [ -t 1 ]; then
  show=on
fi
echo
echo "== ${mpirun[*]} unmask generate: a fixed schedule of 24 steps, experts on $ranks ranks"
"${mpirun[@]}" build/release/bin/unmask generate --model models/demo --show "$show" \
  --gen-length 32 --block-length 32 --decoder steps --steps 24 \
  --prompt "Sort the letters: q d m a x f" \
  --prompt "Count from 37 to 45." \
  --prompt "What is 82 plus 78?" \
  --prompt "Repeat the word falcon three times."

echo
echo "== the 60 questions of tests/data/demo, in one launch, threshold decoding"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 scripts/demo_questions.py ask >"$work/requests.jsonl"
"${mpirun[@]}" build/release/bin/unmask generate --model models/demo --requests "$work/requests.jsonl" >"$work/answers.jsonl"
python3 scripts/demo_questions.py score <"$work/answers.jsonl"
