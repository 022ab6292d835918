# VRFT_SLURM_SETUP=deploy/slurm/venv.sh: lines put into each batch script, before the command.
# A virtual environment on shared storage, made with `make setup` on a machine like the compute nodes.
# module load cuda
source /shared/vrft/.venv/bin/activate
export HF_HOME=/shared/huggingface HF_HUB_OFFLINE=1
