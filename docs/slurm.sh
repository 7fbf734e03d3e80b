#!/usr/bin/env bash
# A training run over all GPUs of several machines. Copy, set account and partition, then:
#     sbatch docs/slurm.sh
# One process per machine, which drives all of its GPUs; SLURM tells each process its place, so
# no further option is needed. The folder of the run must be one that every machine sees.
#SBATCH --job-name=mjxhand
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

run="runs/fpn"
# 8,192 environments for each of 8 GPUs; must be a multiple of GPUs x minibatches.
settings=(fpn --out "$run" --ppo.num-envs 65536)
# Requeued, or submitted again: go on from the newest whole checkpoint.
if compgen -G "$run/checkpoints/[0-9]*" > /dev/null; then
  settings=(--resume "$run")
fi
srun --kill-on-bad-exit=1 .venv/bin/python -m mjxhand.train "${settings[@]}"
