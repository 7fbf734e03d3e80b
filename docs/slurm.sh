#!/usr/bin/env bash
# A training run over all GPUs of several machines. Copy, set account and partition, then:
#     sbatch docs/slurm.sh
# One process per machine, which drives all of its GPUs; SLURM tells each process its place, so
# no further option is needed. The folder of the run must be one that every machine sees.
# Two minutes before its time limit it saves, leaves and queues itself again, until the run is
# complete. `scancel` lets it save and leave for good.
#SBATCH --job-name=mjxhand
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
# Compiled programs, for all machines and for the next time.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/runs/compiled}"

run="runs/fpn"
# 8,192 environments for each of 8 GPUs; must be a multiple of GPUs x minibatches.
settings=(fpn --out "$run" --ppo.num-envs 65536)
# Queued again, or submitted again: go on from the newest whole checkpoint; without one yet,
# from the beginning.
if [ -f "$run/config.json" ]; then
  settings=(--resume "$run")
fi
# Sent to the script itself by scancel and at a preemption, after which SLURM queues it again. The
# steps get it too: bash waits for them before it heeds this. The limit's warning goes to them alone.
cancelled=
trap cancelled=1 TERM
# Named again, since `srun` does not take them from the job; and process 0 evaluates and films
# while the others have ended.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --wait=0 --kill-on-bad-exit=1 \
  .venv/bin/python -m mjxhand.train "${settings[@]}"
code=$?
# 0: saved and left. 143: stopped while it compiled or evaluated.
if [ -z "$cancelled" ] && { [ "$code" -eq 0 ] || [ "$code" -eq 143 ]; }; then
  [ -f "$run/evaluation.json" ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
