#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs with apt what building, testing and running unmask needs and this machine lacks. Asks nothing.
#   scripts/install-deps.sh [--test]      --test: also what only the tests need (clang's fuzzer, Python, the lab)
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config git
  libopenmpi-dev openmpi-bin libhwloc-dev
  libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev
  libpcre2-dev libutf8proc-dev libzstd-dev
  libgtest-dev libgmock-dev
  python3
)
case "${1:-}" in
  "") ;;
  --test) packages+=(clang libclang-rt-14-dev python3-venv python3-pip iproute2 nftables slurmctld slurmd slurm-client zstd) ;;
  *) sed -n '3,4p' "$0" >&2; exit 2 ;;
esac
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: expected Debian 12 or a relative with apt, found none: install what these packages hold: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
    missing+=("$package")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: nothing is missing"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: missing packages: ${missing[*]}" >&2
    echo "install-deps: neither root nor sudo: ask your administrator for them" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "install-deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
       "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$log" 2>&1
then
  cat "$log" >&2
  echo "install-deps: apt-get failed, see above" >&2
  exit 1
fi
