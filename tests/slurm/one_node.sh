#!/bin/sh
# A Slurm of this machine alone, and runs through it; as root, with Debian's slurm-wlm and munge and the extra `slurm`.
#
#   tests/slurm/one_node.sh [OPTION...]
#
# Submits `quickstart` with these options, puts one of its jobs back into the queue in the middle, waits until all
# have ended, and shows `rmem status` all along and the rows at the end. Without options, as it is:
# minutes on two cores; `--scale smoke --set train.steps=300 --set train.checkpoint_every=1` is the shortest that can
# be interrupted. Nothing outside a temporary folder is written, and the daemons end with the script.
set -eu
folder=$(mktemp -d)
name=$(hostname -s)
rmem=${RMEM:-.venv/bin/rmem}
export SLURM_CONF=$folder/slurm.conf RMEM_RUNS=$folder/runs RMEM_RESULTS=$folder/results

end() {
    scancel --quiet --user=root || true
    sleep 5 # for their last checkpoints
    for file in "$folder"/slurmd.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
        [ -e "$file" ] || continue
        process=$(cat "$file")
        kill "$process" || true
        while kill -0 "$process" 2> /dev/null; do sleep 0.2; done # it writes a last file
    done
    [ -n "${KEEP:-}" ] && echo "kept: $folder" || rm -rf "$folder"
}
trap end EXIT

mkdir "$folder/spool" "$folder/state"
dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 2> /dev/null
chmod 400 "$folder/munge.key"
cat > "$SLURM_CONF" << END
ClusterName=one
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=60
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmdSpoolDir=$folder/spool
StateSaveLocation=$folder/state
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$name NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
slurmctld -c
slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sinfo --noheader --format=%T | grep -q idle && break
    sleep 1
done
sinfo

echo "minutes: 30
memory_gb: 4" > "$folder/profile.yaml"
"$rmem" submit quickstart --cluster slurm --profile "$folder/profile.yaml" "$@" | tee "$folder/jobs"
[ "$(cut -f1 "$folder/jobs" | cut -d_ -f1 | uniq | wc -l)" = 1 ] # one array

requeued=
while [ -n "$(squeue --noheader)" ]; do
    "$rmem" status | tee "$folder/status"
    squeue --noheader --format="%i %T %r"
    running=$(awk -F '\t' '$2 == "running" && $3 + 0 > 1 {print $1; exit}' "$folder/status")
    if [ -z "$requeued" ] && [ -n "$running" ]; then
        requeued=$(squeue --noheader --states=running --format=%i | head -1)
        echo "back into the queue: $requeued"
        scontrol requeue "$requeued"
    fi
    sleep 5
done
[ -n "$requeued" ]
"$rmem" status
"$rmem" status | awk -F '\t' '$2 != "ok" {bad = 1} END {exit bad}'
cut -d, -f 2,8-10,29 "$RMEM_RESULTS/quickstart.csv"
