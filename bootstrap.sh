#!/bin/bash
# Make .venv from requirements.lock (every package pinned by version and hash). Run by make; safe to run again.
set -euo pipefail
cd "$(dirname "$0")"

python=$(command -v python3 || true)
[ -n "$python" ] || { echo "gofallback: python3 is missing: apt-get install python3" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "gofallback: $python is $("$python" -V 2>&1), expected Python 3.11 or newer" >&2; exit 1; }

# Debian packs venv apart from python3. `import venv` works without that package; only ensurepip is missing.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  [ "$(id -u)" = 0 ] || { echo "gofallback: python3-venv is missing: sudo apt-get install python3-venv" >&2; exit 1; }
  echo "==> installing python3-venv"
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
fi

want=$(sha256sum requirements.lock pyproject.toml | sha256sum)
if [ "$(cat .venv/.ready 2>/dev/null)" != "$want" ]; then
  echo "==> virtual environment (.venv): a minute, once"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
fi
echo "$want" > .venv/.ready
