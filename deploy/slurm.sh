#!/bin/bash
# A batch on a Slurm cluster: sbatch deploy/slurm.sh SOURCE TARGET. Quillread with the extra [ray] is installed on all
# nodes, in the same version. A job that ran out of time is submitted again and goes on where it ended.
#SBATCH --job-name=quillread-batch
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -euo pipefail

source_=$1
target=$2
export RAY_USAGE_STATS_ENABLED=0
# Only who knows the token may give work to these nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d ' ' -f 1):6379

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
sleep 15
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" --overlap \
    ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
  sleep 15
fi

workers=$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK - 1))
exec srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  quill batch "$source_" --output "$target" --address "$address" --min-workers "$workers" --max-workers "$workers"
