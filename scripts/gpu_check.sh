#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a real GPU, in one go: kernels against plain loops, golden cases, the sanitizer, and the benches.
#   scripts/gpu_check.sh [BUILD]        BUILD: a build of the preset cuda (build/cuda); results also under $OUT, if that is set
# The comparison with PyTorch needs a Python that has it: UNMASK_PYTHON, else python3.
# A build made elsewhere will do, with the libraries it needs beside it (LD_LIBRARY_PATH).
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/cuda}
out=${OUT:-$build/gpu_check}
mkdir -p "$out"
unmask=$build/bin/unmask
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
passed=0
failed=0

# step NAME COMMAND...: its output goes to a file, its last lines here.
step() {
  local name=$1 begin=$SECONDS
  shift
  if timeout "${LIMIT:-240}" "$@" >"$out/$name.log" 2>&1; then
    passed=$((passed + 1))
    echo "PASS $name ($((SECONDS - begin)) s)"
  else
    failed=$((failed + 1))
    echo "FAIL $name ($((SECONDS - begin)) s): $*"
    tail -15 "$out/$name.log"
  fi
}

step info "$unmask" info
grep -A8 '^gpu' "$out/info.log"
step kernels "$build/bin/cuda_device_tests" --gtest_brief=1
step ranks "$build/bin/cuda_rank_tests" --gtest_brief=1
for folder in plain wide uneven; do
  step "golden_$folder" "$unmask" check --device cuda --dtype f32 --model "tests/data/$folder"
  step "golden_${folder}_2" "$unmask" check --device cuda --dtype f32 --transport threads:2 --model "tests/data/$folder"
done
step bf16 "$unmask" check --device cuda --model tests/data/wide
step bf16_wgmma "$unmask" check --device cuda --device-kernel wgmma --model tests/data/wide
step demo_int8 "$unmask" generate --device cuda --dtype int8 --model models/demo --prompt "What is 82 plus 78?" --gen-length 32 --json
step demo "$unmask" generate --device cuda --model models/demo --prompt "What is 82 plus 78?" --gen-length 32 --json
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    step "sanitizer_$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/bin/cuda_device_tests" --gtest_brief=1
  done
  step sanitizer_engine compute-sanitizer --tool memcheck --error-exitcode 9 \
    "$unmask" generate --device cuda --model models/demo --prompt "What is 82 plus 78?" --gen-length 32 --json
fi
step forward "$unmask" bench forward --device cuda --config llada-moe-7b --tokens 32,1024,8192 --context 512 --wanted 32 -o json
step forward_wgmma "$unmask" bench forward --device cuda --device-kernel wgmma --config llada-moe-7b --tokens 32,1024,8192 --context 512 --wanted 32 -o json
step forward_int8 "$unmask" bench forward --device cuda --dtype int8 --config llada-moe-7b --tokens 32,1024,8192 --context 512 --wanted 32 -o json
step generate "$unmask" bench generate --device cuda --config llada-moe-7b --concurrency 1,16,64 --decoder steps --steps 32 --gen-length 64 -o json
python=${UNMASK_PYTHON:-python3}
if "$python" -c 'import torch' 2>/dev/null; then
  LIMIT=${LIMIT_PYTORCH:-1200} step pytorch "$python" scripts/compare_pytorch_gpu.py --unmask "$unmask" --rounds 3
  grep '^|' "$out/pytorch.log"
else
  echo "LEFT OUT pytorch: no torch for $python (UNMASK_PYTHON)"
fi
grep -hE '"(median_ms|share|tokens|limit)"' "$out"/forward*.log | head -120

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
