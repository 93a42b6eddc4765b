#!/usr/bin/env bash
# Measure the specification's figures beside a bare pass-through, LiteLLM and Portkey; bench/__main__.py has the parts.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] && PATH="$PWD/.venv/bin:$PATH"
exec python -m bench "$@"
