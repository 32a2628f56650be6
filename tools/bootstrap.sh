#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what a checkout needs: bootstrap.sh quickstart|test
# Makes .venv-<profile> (or $VENV), installs missing system packages through bindep. May be repeated.
set -euo pipefail
profile=${1:?usage: bootstrap.sh quickstart|test}
cd "$(dirname "$0")/.."
venv=${VENV:-$PWD/.venv-$profile}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "needs root for: $*; run as root, or install sudo"
  fi
}

updated=
install_packages() {
  command -v apt-get >/dev/null ||
    die "this is not Debian or Ubuntu; install by hand what these stand for: $*"
  say "installing system packages: $*"
  if [ -z "$updated" ]; then
    as_root apt-get update -q >&2 || die "apt-get update failed; is the network there?"
    updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2 ||
    die "these packages could not be installed: $*"
}

command -v python3 >/dev/null || install_packages python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or later is needed"
python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
if [ ! -x "$venv/bin/pip" ]; then
  say "making the virtual environment $venv"
  python3 -m venv "$venv"
fi
[ -x "$venv/bin/bindep" ] || { say "installing bindep"; "$venv/bin/pip" install -q bindep; }
command -v lsb_release >/dev/null || [ -e /etc/os-release ] || die "unknown system"
missing=$("$venv/bin/bindep" -b "$profile") || true
# shellcheck disable=SC2086 # a list of names
[ -z "$missing" ] || install_packages $missing
stamp=$(cat setup.cfg setup.py | sha256sum)-$profile
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$stamp" ]; then
  say "installing magnetodb-backup into $venv"
  case $profile in
    quickstart) "$venv/bin/pip" install -q -e . ;;
    test) "$venv/bin/pip" install -q tox ;;
    *) die "unknown profile $profile" ;;
  esac
  printf '%s' "$stamp" >"$venv/.installed"
fi
say "everything is installed"
