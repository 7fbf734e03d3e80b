#!/usr/bin/env bash
# The four parts of docs/learning.md, "Towards any orientation": a brain that turns the cube.
#
#     bash docs/full_task.sh FOLDER [OPTION ...]    # about three hours on two CPU cores
#
# Options go to every part: --seed 1, --network.name baseline --network.units-scale 0.3,
# --atlas FILE. Called again it goes on where it was stopped. What comes of it is FOLDER/safe.
# `TINY=1` runs every part at a tiny size, to test it.
set -euo pipefail
folder="${1:?usage: bash docs/full_task.sh FOLDER [OPTION ...]}"
shift
options=("$@")
python="${PYTHON:-python}"

part() { # NAME STEPS OPTION ...
  local run="$folder/$1" steps="$2" size=(--evaluate-episodes 1024)
  if [[ -n "${TINY:-}" ]]; then
    steps=1024 size=(--evaluate-episodes 4 --ppo.num-envs 32 --env.pool-size 16 --no-film)
  fi
  echo "+ $run"
  if [[ -e "$run/evaluation.json" ]]; then
    echo "complete"
  elif [[ -e "$run/config.json" ]]; then
    "$python" -m mjxhand.train --resume "$run"
  else
    "$python" -m mjxhand.train turning --out "$run" --total-steps "$steps" "${@:3}" "${size[@]}" ${options[@]+"${options[@]}"}
  fi
  # Ctrl-C and SIGTERM save and leave with 0: the next part must not begin.
  [[ -e "$run/evaluation.json" ]] || { echo "stopped; go on with the same command"; exit 0; }
}

fine=(--scene.timestep 0.008 --physics.substeps 10 --curriculum.start 3.1416)
part turning 18.4e6
part finer 15e6 --from "$folder/turning" "${fine[@]}" --ppo.learning-rate 4.4e-4
part careful 10e6 --from "$folder/finer" "${fine[@]}" --ppo.learning-rate 4.4e-4 --env.reward.drop 40
part safe 4e6 --from "$folder/careful" "${fine[@]}" --ppo.learning-rate 3e-4 --env.reward.drop 150
