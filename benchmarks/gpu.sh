#!/usr/bin/env bash
# Everything that is measured on one accelerator, with one command:
#
#     bash benchmarks/gpu.sh [FOLDER]        # default: benchmarks/results/gpu
#
# A case that fails (out of memory, back end not installed) is reported, and the rest goes on.
# On a machine without an accelerator, `TINY=1` runs every line at tiny sizes, to test it.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.
out="${1:-benchmarks/results/gpu}"
mkdir -p "$out"
python="${PYTHON:-python}"
failed=0

run() {
  echo "+ $*"
  "$@" || { echo "failed: $*" >&2; failed=$((failed + 1)); }
}

if [[ -n "${TINY:-}" ]]; then
  run "$python" benchmarks/run.py -f '^((physics|env|policy/fpn|update/laptop)/native/64|pixels/laptop/native/16)$' \
    --repeats 1 --json "$out/speed-native.json"
  run "$python" benchmarks/breakdown.py smoke --impl native --json "$out/breakdown.json"
  run "$python" benchmarks/memory.py smoke --impl native --num-envs 16 32 --json "$out/memory.json"
  run "$python" benchmarks/first.py smoke --json "$out/first.json"
else
  # One file per back end and case, so that none is lost with another.
  for impl in warp jax; do
    for kind in physics env policy/fpn update/fpn update/baseline pixels/fpn; do
      run "$python" benchmarks/run.py --on accelerator -f "^$kind/$impl/" \
        --json "$out/speed-$impl-${kind//\//-}.json"
    done
    run "$python" benchmarks/breakdown.py fpn --impl "$impl" --json "$out/breakdown-$impl.json"
    run "$python" benchmarks/memory.py fpn --impl "$impl" --json "$out/memory-$impl.json"
    run "$python" benchmarks/first.py fpn --option "physics.impl=$impl" \
      --json "$out/first-$impl.json"
  done
fi
echo "$out: $(ls "$out" | wc -l) files, $failed failures"
exit $((failed > 0))
