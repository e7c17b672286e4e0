#!/usr/bin/env bash
# A real Slurm on one Debian 12 machine, without systemd, for tests.
#
#   cluster.sh start            install what is missing, configure, start, self-test, print READY
#   cluster.sh stop             cancel all jobs of this cluster, end only the daemons this script started
#   cluster.sh status           what is running
#   cluster.sh env              the line to eval so that sbatch, squeue, ... find this cluster
#   cluster.sh node-fail NAME   kill the slurmd and the jobs of one emulated node, as if it lost power
#                                      (Slurm notices after about 15-30 s)
#   cluster.sh node-up NAME     start it again
#   cluster.sh purge            stop, then remove the state folder
#
# Run as root.  All state (key, sockets, logs, pids, spool, database) is under $CLUSTER_DIR.
# Daemons listen on loopback if the host name resolves to it (else on all addresses; munge guards them).
# The one thing outside of it is a link /etc/slurm/slurm.conf -> $CLUSTER_DIR/slurm.conf, made by start and
# removed by stop, and never over a file that is not ours: SLURM_CONF alone is not enough, because
# snakemake-executor-plugin-slurm-jobstep removes it from the environment before it calls srun.
#
# Knobs (environment variables; read by `start`, which keeps them in $CLUSTER_DIR/knobs):
#   CLUSTER_DIR         state folder                         (/var/lib/wkflow-slurm)
#   CLUSTER_NODES       emulated nodes n1..nN on this host   (2)
#   CLUSTER_CPUS        CPUs each node claims to have        (2)   may exceed the real ones
#   CLUSTER_MEM         MB each node claims to have          (4000)
#   CLUSTER_ACCOUNTING  1: mariadb + slurmdbd, sacct works   (1)
#                      0: no accounting, squeue only, a lighter start
#   CLUSTER_MEMKILL     1: a step over its memory is killed (by polling once a second); the job then
#                      ends FAILED, not OUT_OF_MEMORY                              (1)
#   CLUSTER_CGROUP      1: memory limits by cgroup v1, as most real clusters: OUT_OF_MEMORY; needs a
#                      writable /sys/fs/cgroup/memory                              (0)
#   CLUSTER_MINJOBAGE   seconds a finished job stays in squeue/scontrol             (300)
#   CLUSTER_PORT        first of the TCP ports used: base=slurmctld, +1 slurmdbd,
#                      +2 mariadb, +11.. slurmd of n1, n2, ...                     (16800)
set -u -o pipefail

DIR=${CLUSTER_DIR:-/var/lib/wkflow-slurm}
LINK=/etc/slurm/slurm.conf
MODE=${1:-start}
say()  { printf '%s\n' "$*" >&2; }
die()  { say "cluster.sh: $*"; exit 1; }

[ "$(id -u)" = 0 ] || die "must run as root"
case $DIR in /*) ;; *) die "CLUSTER_DIR must be an absolute path" ;; esac

# ---------------------------------------------------------------- knobs
# `start` on a stopped cluster takes the knobs from the environment; every other call, and `start`
# on a running cluster, takes those that were kept.
KEPT="CLUSTER_NODES CLUSTER_CPUS CLUSTER_MEM CLUSTER_ACCOUNTING CLUSTER_MEMKILL CLUSTER_CGROUP CLUSTER_MINJOBAGE CLUSTER_PORT"
defaults() {
  : "${CLUSTER_NODES:=2}" "${CLUSTER_CPUS:=2}" "${CLUSTER_MEM:=4000}" "${CLUSTER_ACCOUNTING:=1}"
  : "${CLUSTER_MEMKILL:=1}" "${CLUSTER_CGROUP:=0}" "${CLUSTER_MINJOBAGE:=300}" "${CLUSTER_PORT:=16800}"
}
load_knobs() {
  local k v
  [ -r "$DIR/knobs" ] || return 0
  while IFS='=' read -r k v; do
    case " $KEPT " in *" $k "*) printf -v "$k" %s "$v" ;; esac
  done < "$DIR/knobs"
}
save_knobs() { local k; for k in $KEPT; do printf '%s=%s\n' "$k" "${!k}"; done > "$DIR/knobs"; }

# ---------------------------------------------------------------- pids
# One file per daemon, "pid starttime".  The start time (field 22 of /proc/PID/stat) guards against
# a recycled pid: a process is ours only when both agree.
starttime() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; printf %s "${20}"; }
pid_of() {  # name -> pid, if that daemon is alive and is the one we started
  local p t
  [ -r "$DIR/pids/$1" ] || return 1
  read -r p t < "$DIR/pids/$1" || return 1
  [ "$(starttime "$p")" = "$t" ] || return 1
  [ "$(sed 's/.*) //' "/proc/$p/stat" | cut -c1)" != Z ] || return 1
  printf %s "$p"
}
launch() {  # name command...   detached, in its own session, stdout+stderr to a log
  local name=$1 p; shift
  pid_of "$name" >/dev/null && return 0
  setsid "$@" >>"$DIR/log/$name.out" 2>&1 </dev/null &
  p=$!
  disown "$p" 2>/dev/null || true
  printf '%s %s\n' "$p" "$(starttime "$p")" > "$DIR/pids/$name"
}
end() {  # name [signal]   TERM (or the given signal), wait up to 15 s, then KILL; only our own pid
  local name=$1 sig=${2:-TERM} p i
  if p=$(pid_of "$name"); then
    kill -s "$sig" "$p" 2>/dev/null
    for i in $(seq 150); do pid_of "$name" >/dev/null || break; sleep 0.1; done
    if p=$(pid_of "$name"); then kill -s KILL "$p" 2>/dev/null; sleep 0.2; fi
  fi
  rm -f "$DIR/pids/$name"
}
until_ok() {  # seconds what command...   retry every 0.2 s
  local t=$(( SECONDS + $1 )) what=$2; shift 2
  while [ "$SECONDS" -le "$t" ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  say "gave up waiting for $what"; return 1
}
any_alive() { local f; for f in "$DIR"/pids/*; do [ -e "$f" ] && pid_of "${f##*/}" >/dev/null && return 0; done; return 1; }

# ---------------------------------------------------------------- install
need() {
  local p miss=""
  local want="slurm-wlm slurm-client munge"
  [ "$CLUSTER_ACCOUNTING" = 1 ] && want="$want slurmdbd mariadb-server"
  for p in $want; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | cut -c1-2)" = ii ] || miss="$miss $p"
  done
  [ -n "$miss" ] || return 0
  say "installing:$miss"
  # Keep maintainer scripts from starting daemons of their own, unless the machine has such a policy.
  local made=0
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; made=1
  fi
  local lock="-o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any" ok=1
  { apt-get -q $lock update &&
    DEBIAN_FRONTEND=noninteractive apt-get -q -y $lock install --no-install-recommends $miss; } \
    >"$DIR/log/apt.out" 2>&1 || ok=0
  [ $made = 1 ] && rm -f /usr/sbin/policy-rc.d
  [ $ok = 1 ] || { tail -5 "$DIR/log/apt.out" >&2; die "apt-get failed, see $DIR/log/apt.out"; }
}

# ---------------------------------------------------------------- configuration
nodes() { local i; for i in $(seq "$CLUSTER_NODES"); do printf 'n%s ' "$i"; done; }
configure() {
  local host port=$CLUSTER_PORT ports comm=""
  host=$(hostname -s)
  # These make the daemons listen on the address of the host name alone instead of on all: only of
  # use, and only right, where that is a loopback address.
  case $(getent ahostsv4 "$(hostname)" | awk 'NR==1{print $1}') in
    127.*) comm=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny ;;
  esac
  if [ "$CLUSTER_NODES" = 1 ]; then ports=$((port+11)); else ports="[$((port+11))-$((port+10+CLUSTER_NODES))]"; fi
  install -d -m 755 "$DIR" "$DIR"/{log,pids,spool,ctld,munge}
  if [ ! -s "$DIR/munge/key" ]; then
    ( umask 077; head -c 1024 /dev/urandom > "$DIR/munge/key" )
  fi
  chmod 400 "$DIR/munge/key"

  {
  cat <<CONF
# written by cluster.sh
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
$comm
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket,cred_expire=15
CredType=cred/munge
StateSaveLocation=$DIR/ctld
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/ctld/pid
SlurmdPidFile=$DIR/spool/%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/$([ "$CLUSTER_CGROUP" = 1 ] && echo cgroup || echo none)
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
SwitchType=switch/none
MpiDefault=none
# more CPUs and memory may be claimed than the machine has
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# quick to notice time-outs and lost nodes (and cred_expire above: a requeued job waits that long)
KillWait=2
SlurmdTimeout=15
CompleteWait=0
ReturnToService=2
MinJobAge=$CLUSTER_MINJOBAGE
MaxArraySize=1001
# a job that no node or partition limit allows is refused at once instead of pending for ever
EnforcePartLimits=ANY
NodeName=n[1-$CLUSTER_NODES] NodeHostname=$host NodeAddr=127.0.0.1 Port=$ports CPUs=$CLUSTER_CPUS RealMemory=$CLUSTER_MEM Feature=any,big State=UNKNOWN
# main is the default; low and killed give way to it (requeued, cancelled); short has a limit of 1 minute
PartitionName=main  Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=low   Nodes=ALL Default=NO  MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1  PreemptMode=REQUEUE
PartitionName=killed Nodes=ALL Default=NO MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=short Nodes=ALL Default=NO  MaxTime=1        DefaultTime=1  State=UP PriorityTier=10 PreemptMode=OFF
CONF
  [ "$CLUSTER_MEMKILL$CLUSTER_CGROUP" = 10 ] && echo "JobAcctGatherParams=OverMemoryKill"
  if [ "$CLUSTER_ACCOUNTING" = 1 ]; then cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port+1))
# not a password: the munge socket for the connections to slurmdbd (the default one otherwise)
AccountingStoragePass=$DIR/munge/socket
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment,job_script
CONF
  else echo "AccountingStorageType=accounting_storage/none"; fi
  } > "$DIR/slurm.conf.new" && mv "$DIR/slurm.conf.new" "$DIR/slurm.conf"
  chmod 644 "$DIR/slurm.conf"
  if [ -L $LINK ] || [ ! -e $LINK ]; then
    case $(readlink $LINK) in
      ""|"$DIR/slurm.conf") install -d -m 755 "${LINK%/*}"; ln -sfn "$DIR/slurm.conf" $LINK ;;
      *) say "warning: $LINK leads elsewhere and is left alone; srun inside Snakemake jobs will not find this cluster" ;;
    esac
  else say "warning: $LINK is another file and is left alone; srun inside Snakemake jobs will not find this cluster"; fi
  rm -f "$DIR/cgroup.conf"
  if [ "$CLUSTER_CGROUP" = 1 ]; then
    [ -w /sys/fs/cgroup/memory/cgroup.procs ] || die "CLUSTER_CGROUP=1 needs a writable cgroup v1 at /sys/fs/cgroup/memory"
    printf '%s\n' CgroupPlugin=cgroup/v1 ConstrainRAMSpace=yes ConstrainSwapSpace=yes AllowedSwapSpace=0 > "$DIR/cgroup.conf"
  fi

  if [ "$CLUSTER_ACCOUNTING" = 1 ]; then
    [ -s "$DIR/dbpass" ] || ( umask 077; head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$DIR/dbpass" )
    ( umask 077; cat > "$DIR/slurmdbd.conf" <<CONF
# written by cluster.sh
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port+1))
SlurmUser=root
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/ctld/dbd.pid
$comm
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port+2))
StorageUser=slurm
StoragePass=$(cat "$DIR/dbpass")
StorageLoc=slurm_acct
CONF
    )
    chmod 600 "$DIR/slurmdbd.conf"
  fi
}

# ---------------------------------------------------------------- daemons
sql() { mariadb --no-defaults --socket="$DIR/mysql/socket" --user=root "$@"; }
start_db() {
  pid_of mariadbd >/dev/null && return 0
  if [ ! -d "$DIR/mysql/data/mysql" ]; then
    install -d -m 755 -o mysql -g mysql "$DIR/mysql"
    mariadb-install-db --no-defaults --user=mysql --datadir="$DIR/mysql/data" \
      --auth-root-authentication-method=socket --skip-test-db >"$DIR/log/mariadb-install.out" 2>&1 \
      || die "mariadb-install-db failed, see $DIR/log/mariadb-install.out"
  fi
  launch mariadbd mariadbd --no-defaults --user=mysql --datadir="$DIR/mysql/data" \
    --socket="$DIR/mysql/socket" --pid-file="$DIR/mysql/pid" --bind-address=127.0.0.1 \
    --port=$((CLUSTER_PORT+2)) --skip-log-bin --innodb-buffer-pool-size=64M \
    --innodb-log-file-size=32M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
    --performance-schema=OFF --skip-name-resolve
  until_ok 60 mariadb sql -e 'select 1' || die "mariadb did not start, see $DIR/log/mariadbd.out"
  # the user name reaches mariadb over TCP from 127.0.0.1; the password goes through stdin, not argv
  sql <<SQL || die "could not set up the database"
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1';
ALTER USER 'slurm'@'127.0.0.1' IDENTIFIED BY '$(cat "$DIR/dbpass")';
GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';
SQL
}
register() {  # cluster, two accounts, root a user of both
  sacctmgr -n -P list cluster format=cluster | grep -qx one \
    || sacctmgr -i add cluster one >/dev/null || return 1
  local a
  for a in testing other; do
    sacctmgr -n -P list account format=account | grep -qx $a \
      || sacctmgr -i add account $a Cluster=one Description=$a Organization=one >/dev/null || return 1
    sacctmgr -n -P list user root withassoc format=account | grep -qx $a \
      || sacctmgr -i add user root Account=$a Cluster=one >/dev/null || return 1
  done
  sacctmgr -i modify user root set DefaultAccount=testing where Cluster=one >/dev/null 2>&1 || true
}
start_node() { SLURMD_OPTIONS= launch "slurmd-$1" slurmd -D -N "$1" -f "$DIR/slurm.conf"; }
fail_node() {  # the node dies: its slurmd, its job steps and all they started
  local name=$1 ino fd p kids all=""
  end "slurmd-$name" KILL
  # a slurmstepd listens on a socket in its node's spool folder
  for ino in $(awk -v d="$DIR/spool/$name/" 'index($8, d) == 1 {print $7}' /proc/net/unix); do
    for fd in $(find /proc/[0-9]*/fd -lname "socket:\\[$ino\\]" 2>/dev/null); do p=${fd#/proc/}; all="$all ${p%%/*}"; done
  done
  kids=$all
  while [ -n "${kids// /}" ]; do
    kids=$(for p in $kids; do cat /proc/"$p"/task/*/children 2>/dev/null; done | tr '\n' ' '); all="$all $kids"
  done
  [ -n "${all// /}" ] && kill -s KILL $all 2>/dev/null
  return 0
}
idle() {  # every node up
  local up; up=$(sinfo -h -N -p main -o '%N %t' | awk '$2=="idle"||$2=="mix"||$2=="alloc"{n++} END{print n+0}')
  [ "$up" = "$CLUSTER_NODES" ]
}
selftest() {
  local j out=$DIR/selftest.out i s
  rm -f "$out"
  # the form the Snakemake plugin uses: a batch job whose script calls srun
  j=$(cd "$DIR" && sbatch --parsable -n1 -c1 --mem 50 -t 2 -o "$out" --wrap 'srun -n1 --cpu-bind=q hostname') || return 1
  for i in $(seq 300); do
    s=$(squeue -h -j "$j" -t all -o %T 2>/dev/null)
    case $s in COMPLETED) break ;; PENDING|RUNNING|COMPLETING|CONFIGURING|"") sleep 0.1 ;; *) break ;; esac
  done
  [ "$s" = COMPLETED ] && grep -q . "$out" || { say "self-test job $j: $s"; cat "$out" >&2; return 1; }
  rm -f "$out"
  [ "$CLUSTER_ACCOUNTING" = 1 ] || return 0
  until_ok 20 "sacct to show job $j" sh -c "sacct -X -n -P -j $j -o State | grep -qx COMPLETED"
}

start() {
  install -d -m 755 "$DIR" "$DIR/log" "$DIR/pids"
  : > "$DIR/.wkflow-slurm"
  any_alive && load_knobs
  defaults
  need
  configure
  save_knobs
  export SLURM_CONF=$DIR/slurm.conf
  launch munged munged --foreground --force --key-file="$DIR/munge/key" --socket="$DIR/munge/socket" \
    --pid-file="$DIR/munge/pid" --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed"
  until_ok 20 munged munge --socket="$DIR/munge/socket" --no-input || die "munged did not start, see $DIR/log/munged.out"
  if [ "$CLUSTER_ACCOUNTING" = 1 ]; then
    start_db
    launch slurmdbd slurmdbd -D
    until_ok 60 slurmdbd sacctmgr -n list cluster || die "slurmdbd did not start, see $DIR/log/slurmdbd.log"
    until_ok 20 "the accounts" register || die "could not add the accounts"
  fi
  launch slurmctld slurmctld -D -f "$DIR/slurm.conf"
  until_ok 30 slurmctld scontrol ping || die "slurmctld did not start, see $DIR/log/slurmctld.log"
  local n
  for n in $(nodes); do start_node "$n"; done
  until_ok 40 "the nodes" idle || { sinfo -N -l >&2; die "nodes are not up, see $DIR/log/slurmd-*.log"; }
  selftest || die "the self-test failed"
  say "$(sinfo -h -o '%P %D node(s) %c cpus %m MB %t')"
  [ "$(readlink $LINK)" = "$DIR/slurm.conf" ] || say "use: export SLURM_CONF=$DIR/slurm.conf"
  echo READY
}

stop() {
  load_knobs; defaults
  export SLURM_CONF=$DIR/slurm.conf
  local n i f
  if pid_of slurmctld >/dev/null && command -v squeue >/dev/null; then
    timeout 20 scancel --state=PENDING --user=root 2>/dev/null
    squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 20 scancel 2>/dev/null
    for i in $(seq 50); do [ -z "$(squeue -h 2>/dev/null)" ] && break; sleep 0.2; done
  fi
  for f in "$DIR"/pids/slurmd-*; do [ -e "$f" ] && end "${f##*/}"; done
  for n in slurmctld slurmdbd mariadbd munged; do end "$n"; done
  [ "$(readlink $LINK)" = "$DIR/slurm.conf" ] && rm -f $LINK
  say STOPPED
}

case $MODE in
  start) start ;;
  stop)  [ -d "$DIR" ] && stop || say "nothing at $DIR" ;;
  env)   echo "export SLURM_CONF=$DIR/slurm.conf" ;;
  status)
    load_knobs; defaults; export SLURM_CONF=$DIR/slurm.conf; rc=0
    for n in munged $([ "$CLUSTER_ACCOUNTING" = 1 ] && echo mariadbd slurmdbd) slurmctld $(for i in $(nodes); do echo slurmd-$i; done); do
      if p=$(pid_of "$n"); then echo "$n pid $p"; else echo "$n not running"; rc=3; fi
    done
    [ $rc = 0 ] && sinfo -N -o '%N %P %t %c %m %f'; exit $rc ;;
  node-fail) load_knobs; defaults; fail_node "${2:?which node}" ;;
  node-up)   load_knobs; defaults; export SLURM_CONF=$DIR/slurm.conf; start_node "${2:?which node}"; until_ok 40 "the nodes" idle ;;
  purge) [ -e "$DIR/.wkflow-slurm" ] || die "$DIR was not made by this script"
         stop; any_alive && die "something is still running"; rm -rf -- "$DIR" ;;
  *) die "start, stop, status, env, node-fail NAME, node-up NAME or purge" ;;
esac
