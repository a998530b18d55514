#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compare_template.sh PYTHON DRIVER: runs compare_template.py, or says what is missing and exits with 77 (ctest: skipped).
if ! "$1" -c 'import jinja2' 2>/dev/null; then
  echo "SKIPPED: compare_template needs Python with the package jinja2 (3.1)." >&2
  echo "Install it (apt-get install python3-jinja2, or pip install jinja2) or name another interpreter: cmake -DUNMASK_PYTHON=..." >&2
  exit 77
fi
exec "$1" "$(dirname "$0")/compare_template.py" "$2"
