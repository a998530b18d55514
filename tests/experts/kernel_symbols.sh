#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kernel_symbols.sh NM OBJECT...: fails where an object in cpu/ but portable.cpp's defines a weak symbol.
set -euo pipefail
nm=$1
shift
checked=0
for object in "$@"; do
  case $object in
    */cpu/portable.cpp.o) continue ;;
    */cpu/*) ;;
    *) continue ;;
  esac
  checked=$((checked + 1))
  if "$nm" --demangle "$object" | grep -E ' [WVu] ' | grep -vE '__asan|__ubsan|__sanitizer|__odr_asan|DW.ref'; then
    echo "FAILED: $object defines the symbols above, which other files may be linked to" >&2
    exit 1
  fi
done
[ "$checked" -ge 2 ] || { echo "FAILED: $checked objects found, expected at least 2" >&2; exit 1; }
echo "$checked objects define no weak symbol"
