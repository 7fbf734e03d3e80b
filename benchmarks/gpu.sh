#!/usr/bin/env bash
# Everything that is measured on one accelerator, with one command:
#
#     bash benchmarks/gpu.sh [FOLDER]        # default: benchmarks/results/gpu
#
# What matters most comes first, and every line has a file of its own, so that little is lost
# where time runs out. A line that fails (out of memory, back end not installed) or takes longer
# than LIMIT seconds is reported, and the rest goes on. IMPLS="jax" leaves the other back end out.
# TINY=1 runs the same lines at tiny sizes, on a CPU too, to test them.
set -uo pipefail
out="${1:+$(realpath -m "$1")}"
cd "$(dirname "$0")/.."
out="${out:-benchmarks/results/gpu}"
export PYTHONPATH=.
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"  # an update would take all devices
python="${PYTHON:-python}"
limit="${LIMIT:-1800}"
if [[ -n "${TINY:-}" ]]; then
  on=tiny impls="${IMPLS:-native jax}" preset=smoke head=16 sizes="16 32" repeats=1
else
  on=accelerator impls="${IMPLS:-jax warp}" preset=fpn head=8192 sizes="1024 2048 4096 8192" repeats=5
  "$python" benchmarks/environment.py || exit 2
fi
mkdir -p "$out"
failed=0
running=

run() {
  echo "+ $*"
  timeout -k 10 "$limit" "$@" &
  running=$!
  wait "$running" || { echo "failed ($?; 124: after $limit s): $*" >&2; failed=$((failed + 1)); }
}
trap '[[ -z "$running" ]] || kill "$running"; exit 130' INT TERM

speed() {  # KIND, IMPL, regular expression of sizes, end of the file's name
  run "$python" benchmarks/run.py --on "$on" --repeats "$repeats" -f "^$1/$2/$3\$" \
    --json "$out/speed-$2-${1//\//-}$4.json"
}

for kind in physics "update/$preset"; do
  for impl in $impls; do speed "$kind" "$impl" "$head" "-$head"; done
done
for impl in $impls; do
  run "$python" benchmarks/breakdown.py "$preset" --impl "$impl" --num-envs "$head" \
    --json "$out/breakdown-$impl.json"
done
for kind in physics "update/$preset"; do
  for impl in $impls; do speed "$kind" "$impl" "(?!$head\$).*" ""; done
done
for kind in env "policy/$preset" update/baseline "pixels/$preset"; do
  for impl in $impls; do speed "$kind" "$impl" ".*" ""; done
done
for impl in $impls; do
  run "$python" benchmarks/first.py "$preset" --option "physics.impl=$impl" \
    --json "$out/first-$impl.json"
done
for impl in $impls; do  # last: it runs nothing, and needs no accelerator with `--on`
  # shellcheck disable=SC2086
  run "$python" benchmarks/memory.py "$preset" --impl "$impl" --num-envs $sizes \
    --json "$out/memory-$impl.json"
done
echo "$out: $(ls "$out" | wc -l) files, $failed failures"
exit $((failed > 0))
