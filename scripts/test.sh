#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds and runs the tests.
#   scripts/test.sh            all tests of the dev preset, the unit tests under ASan + UBSan, the fuzz targets on their corpora
#   scripts/test.sh --quick    only the dev preset
#   scripts/test.sh --full     all of it, the long forms too: a build for any x86-64, ThreadSanitizer, ten minutes of fuzzing per target, 7B-shaped loads,
#                              200 kills of a batch job, preemption under a real Slurm
set -euo pipefail
cd "$(dirname "$0")/.."

form=standard
case "${1:-}" in
  "") ;;
  --quick) form=quick ;;
  --full) form=full ;;
  *) sed -n '3,7p' "$0" >&2; exit 2 ;;
esac

scripts/install-deps.sh --test
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # clones of this repository share what they compiled
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# The packages that tokenizer and chat template are compared with. Without them those tests skip, and are counted as skipped.
python=build/venv/bin/python
if ! "$python" -c 'import tokenizers, jinja2, numpy, safetensors' 2>/dev/null; then
  mkdir -p build
  { python3 -m venv build/venv && build/venv/bin/pip install -q --disable-pip-version-check tokenizers jinja2 numpy safetensors; } ||
    echo "test.sh: no Python packages to compare with: those tests will be SKIPPED" >&2
fi
if [ -x "$python" ]; then
  python=$PWD/$python
else
  python=$(command -v python3)
fi

configure() {  # PRESET [CMAKE-ARGUMENTS...]
  local log=build/configure-$1.log
  cmake --preset "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}

# run PRESET TARGET CTEST-ARGUMENTS...: configure, build, test; the summary is repeated at the very end.
summaries=()
logs=()
failed=0
run() {
  local preset=$1 target=$2
  shift 2
  echo "== $preset"
  configure "$preset" -DUNMASK_PYTHON="$python"
  cmake --build --preset "$preset" --target "$target"
  local log=build/ctest-$preset.log
  logs+=("$log")
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j2 "$@" 2>&1 | tee "$log" || failed=1
  summaries+=("$preset: $(grep -E 'tests passed' "$log" | tail -1), skipped: $(grep -cE '\*\*\*Skipped' "$log" || true)")
}

mkdir -p build
if [ "$form" = full ]; then
  run dev all
else
  run dev all -LE family  # the whole suites once more with each kernel family forced: only in the full form
fi
if [ "$form" != quick ]; then
  # All golden cases take long under sanitizers: a few run below. The threads of a simulated GPU are fibers that switch stacks.
  run asan unit_tests -L unit -LE 'slow|golden|simulator'
  build/asan/bin/golden_test --gtest_brief=1 --gtest_filter='*plain_2ranks*:*LogitsAndRouterCounts/uneven_4ranks*' || failed=1
  run fuzz fuzz_targets -L fuzz
fi
if [ "$form" = full ]; then
  run x86-64 unit_tests -L unit -LE slow
  run tsan unit_tests -L unit -LE 'slow|golden|simulator'
  for target in build/fuzz/bin/fuzz_*; do
    if [ ! -f "$target" ] || [ ! -x "$target" ]; then
      continue
    fi
    name=$(basename "$target")
    mkdir -p "build/corpus/$name"
    echo "== $name, ten minutes"
    "$target" -max_total_time=600 -rss_limit_mb=4096 "build/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}" 2>&1 | tail -5 || failed=1
  done
  configure release -DUNMASK_TESTS=OFF
  cmake --build --preset release --target unmask make_checkpoint
  scripts/full_size.py || failed=1
  export UNMASK_PROGRAM=$PWD/build/release/bin/unmask
  "$python" tests/launcher/batch_kill_test.py --kills 200 --requests 2000 || failed=1
  "$python" tests/lab/slurm_lab_test.py --full || failed=1
fi

echo
printf '%s\n' "${summaries[@]}"
grep -hE 'tests passed' "${logs[@]}"
exit "$failed"
