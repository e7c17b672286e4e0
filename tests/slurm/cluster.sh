#!/usr/bin/env bash
# A real Slurm of two nodes on one machine, for tests: Debian or Ubuntu, as root, also in a plain container.
#
#   cluster.sh start            install what is missing, start what does not run, run a job; prints READY
#   cluster.sh stop             cancel all jobs and end the daemons
#   cluster.sh status           which daemons run; exit code 0: all of them
#   cluster.sh node-fail NAME   node n1 or n2 loses power: its daemon, its jobs. Slurm notices after 15 to 30 s
#   cluster.sh node-up NAME     it is back
#   cluster.sh purge            stop, and delete all traces but the packages
#
# Settings, all of them environment variables:
#   CLUSTER_DIR         everything is kept here                              (/var/lib/wkflow-slurm)
#   CLUSTER_PORT        first of the ports: slurmctld, slurmdbd, mariadb; +11, +12: the nodes (16800)
#   CLUSTER_ACCOUNTING  1: slurmdbd and mariadb, so that sacct and accounts work (1)
#   CLUSTER_CGROUP      1: memory is limited by cgroups of version 1; 0: looked at once a second (0)
#   CLUSTER_MINJOBAGE   seconds until Slurm forgets a job that has ended     (300)
#
# Daemons are reached through loopback if the machine's name leads there. The only thing outside of CLUSTER_DIR is the link
# /etc/slurm/slurm.conf, while the cluster runs: SLURM_CONF alone would not do, since Snakemake's jobs call srun without it.
# With a Slurm of somebody else on the machine nothing is started.
set -u -o pipefail

DIR=${CLUSTER_DIR:-/var/lib/wkflow-slurm}
PORT=${CLUSTER_PORT:-16800}
ACCOUNTING=${CLUSTER_ACCOUNTING:-1}
CGROUP=${CLUSTER_CGROUP:-0}
MINJOBAGE=${CLUSTER_MINJOBAGE:-300}
SETTINGS="port=$PORT accounting=$ACCOUNTING cgroup=$CGROUP minjobage=$MINJOBAGE"
LINK=/etc/slurm/slurm.conf
NODES="n1 n2"
SOCKET=$DIR/munge/socket
POLICY=/usr/sbin/policy-rc.d
export SLURM_CONF=$DIR/slurm.conf

say() { printf '%s\n' "$*" >&2; }
die() { say "cluster.sh: $*"; exit 1; }

# ---------------------------------------------------------------- daemons
# Of each there is a file "pid starttime": a process is ours only if both agree, since process ids are used again.
start_time() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; [ "$1" != Z ] && printf %s "${20}"; }
pid_of() {  # name
  local pid time
  read -r pid time 2>/dev/null < "$DIR/pids/$1" && [ "$(start_time "$pid")" = "$time" ] && printf %s "$pid"
}
launch() {  # name command...
  local name=$1 pid; shift
  pid_of "$name" >/dev/null && return
  setsid "$@" >>"$DIR/log/$name.out" 2>&1 </dev/null 9>&- &
  pid=$!
  disown "$pid"
  printf '%s %s\n' "$pid" "$(start_time "$pid")" > "$DIR/pids/$name"
}
end() {  # name [signal]
  local pid
  if pid=$(pid_of "$1"); then
    kill -s "${2:-TERM}" "$pid"
    for _ in $(seq 150); do pid_of "$1" >/dev/null || break; sleep 0.1; done
    pid=$(pid_of "$1") && kill -s KILL "$pid"
  fi
  rm -f "$DIR/pids/$1"
}
ours() { [ -d "$DIR/pids" ] && find "$DIR/pids" -type f -printf '%f\n' | sort; }
is_any_alive() { local name; for name in $(ours); do pid_of "$name" >/dev/null && return; done; return 1; }
until_ok() {  # seconds what command...    not if it is a daemon that has ended
  local end=$((SECONDS + $1)) what=$2; shift 2
  while [ "$SECONDS" -le "$end" ]; do
    "$@" >/dev/null 2>&1 && return
    [ -e "$DIR/pids/$what" ] && ! pid_of "$what" >/dev/null && break
    sleep 0.1
  done
  say "waited in vain for $what"; return 1
}

# ---------------------------------------------------------------- before the start
refuse_others() {
  local pid
  if [ -L $LINK ]; then
    [ "$(readlink $LINK)" = "$DIR/slurm.conf" ] || die "$LINK leads to $(readlink $LINK): this machine has another Slurm"
  elif [ -e $LINK ]; then
    die "$LINK is not ours: this machine has another Slurm"
  fi
  is_any_alive && return
  for pid in $(pgrep -x slurmctld; pgrep -x slurmd; pgrep -x slurmdbd); do
    start_time "$pid" >/dev/null || continue  # it has ended, though nobody has asked how
    die "$(tr '\0' ' ' < "/proc/$pid/cmdline")(process $pid) is not ours: this machine has another Slurm"
  done
}
install_missing() {
  local package missing="" lock="-o DPkg::Lock::Timeout=300"
  for package in slurm-wlm slurm-client munge procps $([ "$ACCOUNTING" = 1 ] && echo slurmdbd mariadb-server); do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | cut -c1-2)" = ii ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return
  say "installing$missing"
  if [ ! -e $POLICY ]; then  # packages must not start daemons
    printf '#!/bin/sh\nexit 101\n' > $POLICY; chmod 755 $POLICY; made_policy=1
  fi
  { apt-get -q $lock update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y $lock install --no-install-recommends $missing; } >"$DIR/log/apt.out" 2>&1 \
    || { tail -5 "$DIR/log/apt.out" >&2; die "the packages could not be installed, see $DIR/log/apt.out"; }
  remove_policy
}
remove_policy() { [ "${made_policy:-0}" = 1 ] && rm -f $POLICY; made_policy=0; }

# ---------------------------------------------------------------- configuration
configure() {
  local host loopback=""
  host=$(hostname -s)
  case $(getent ahostsv4 "$(hostname)" | awk 'NR==1{print $1}') in
    127.*) loopback=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny ;;
  esac
  [ -s "$DIR/munge/key" ] || (umask 077; head -c 1024 /dev/urandom > "$DIR/munge/key")
  [ -s "$DIR/password" ] || (umask 077; head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$DIR/password")
  slurm_conf > "$DIR/slurm.conf"
  (umask 077; slurmdbd_conf > "$DIR/slurmdbd.conf")
  rm -f "$DIR/cgroup.conf"
  if [ "$CGROUP" = 1 ]; then
    [ -w /sys/fs/cgroup/memory/cgroup.procs ] || die "CLUSTER_CGROUP=1 needs /sys/fs/cgroup/memory (cgroups of version 1)"
    printf '%s\n' CgroupPlugin=cgroup/v1 ConstrainRAMSpace=yes ConstrainSwapSpace=yes AllowedSwapSpace=0 > "$DIR/cgroup.conf"
  fi
  install -d -m 755 "${LINK%/*}" && ln -sfn "$DIR/slurm.conf" $LINK
  printf '%s\n' "$SETTINGS" > "$DIR/settings"
}
slurm_conf() {
  cat <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$PORT
$loopback
SlurmUser=root
AuthType=auth/munge
# A job that is queued again waits for cred_expire: 2 minutes by default.
AuthInfo=socket=$SOCKET,cred_expire=15
CredType=cred/munge
StateSaveLocation=$DIR/ctld
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/ctld/pid
SlurmdPidFile=$DIR/spool/%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
$([ "$CGROUP" = 1 ] && echo TaskPlugin=task/cgroup || echo JobAcctGatherParams=OverMemoryKill)
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
# The nodes may have more than the machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
SlurmdTimeout=15
CompleteWait=0
ReturnToService=2
MinJobAge=$MINJOBAGE
# Refuse what no node or partition can ever run; without it such jobs wait for ever.
EnforcePartLimits=ANY
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((PORT + 11))-$((PORT + 12))] CPUs=2 RealMemory=4000 Feature=any,big State=UNKNOWN
PartitionName=DEFAULT Nodes=ALL State=UP MaxTime=INFINITE DefaultTime=60
PartitionName=main Default=YES PriorityTier=10 PreemptMode=OFF
# These two make room for main.
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE
PartitionName=killed PriorityTier=1 PreemptMode=CANCEL
PartitionName=short PriorityTier=10 PreemptMode=OFF MaxTime=1 DefaultTime=1
CONF
  [ "$ACCOUNTING" = 1 ] || return 0
  cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 1))
# Not a password, but where clients of slurmdbd find munge.
AccountingStoragePass=$SOCKET
AccountingStorageEnforce=associations,qos
# As curious as a database can be about jobs.
AccountingStoreFlags=job_comment,job_script
CONF
}
slurmdbd_conf() {
  cat <<CONF
AuthType=auth/munge
AuthInfo=socket=$SOCKET
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=root
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/ctld/dbd.pid
$loopback
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=$(cat "$DIR/password")
StorageLoc=slurm_acct
CONF
}

# ---------------------------------------------------------------- accounting
sql() { mariadb --no-defaults --socket="$DIR/mysql/socket" --user=root "$@"; }
start_database() {
  if [ ! -d "$DIR/mysql/data/mysql" ]; then
    install -d -m 755 -o mysql -g mysql "$DIR/mysql"
    mariadb-install-db --no-defaults --user=mysql --datadir="$DIR/mysql/data" --auth-root-authentication-method=socket \
      --skip-test-db >"$DIR/log/mariadb-install.out" 2>&1 || die "no database, see $DIR/log/mariadb-install.out"
  fi
  launch mariadbd mariadbd --no-defaults --user=mysql --datadir="$DIR/mysql/data" --socket="$DIR/mysql/socket" \
    --pid-file="$DIR/mysql/pid" --bind-address=127.0.0.1 --port=$((PORT + 2)) --skip-log-bin --performance-schema=OFF \
    --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 --skip-name-resolve
  until_ok 60 mariadb sql -e 'select 1' || die "mariadb does not start, see $DIR/log/mariadbd.out"
  sql <<SQL || die "the database cannot be set up"
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1';
ALTER USER 'slurm'@'127.0.0.1' IDENTIFIED BY '$(cat "$DIR/password")';
GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';
SQL
}
start_accounting() {
  start_database
  launch slurmdbd slurmdbd -D
  until_ok 60 slurmdbd sacctmgr -n list cluster || die "slurmdbd does not start, see $DIR/log/slurmdbd.log"
  until_ok 20 "the accounts" register || die "there are no accounts"
}
register() {  # the cluster, and root as a user of two accounts
  has() { sacctmgr -n -P list "$@"; }
  has cluster format=cluster | grep -qx one || sacctmgr -i add cluster one || return
  local account
  for account in testing other; do
    has account format=account | grep -qx $account || sacctmgr -i add account $account Cluster=one || return
    has user root withassoc format=account | grep -qx $account || sacctmgr -i add user root Account=$account Cluster=one || return
  done
  [ "$(has user root format=defaultaccount)" = testing ] || sacctmgr -i modify user root set DefaultAccount=testing where Cluster=one
}

# ---------------------------------------------------------------- nodes
start_node() { launch "slurmd-$1" slurmd -D -N "$1" -f "$DIR/slurm.conf"; }
are_nodes_up() { [ "$(sinfo -h -N -p main -o '%N %t' | grep -cE ' (idle|mix|alloc)$')" = 2 ]; }
end_node() {  # name: with its jobs, known by the sockets that their slurmstepd has in the node's folder
  local inode fd pid pids=""
  end "slurmd-$1" KILL
  for inode in $(awk -v dir="$DIR/spool/$1/" 'index($8, dir) == 1 {print $7}' /proc/net/unix); do
    for fd in $(find /proc/[0-9]*/fd -lname "socket:\\[$inode\\]" 2>/dev/null); do pid=${fd#/proc/}; pids="$pids ${pid%%/*}"; done
  done
  for pid in $pids; do kill_tree "$pid"; done
}
kill_tree() {
  local child
  kill -s STOP "$1" 2>/dev/null  # so that it gets no more children
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do kill_tree "$child"; done
  kill -s KILL "$1" 2>/dev/null
}
check_node() { case " $NODES " in *" $1 "*) ;; *) die "which node? $NODES" ;; esac; }
run_job() {  # as Snakemake's Slurm plugin does it: a batch job that calls srun
  local out=$DIR/job.out
  rm -f "$out"
  sbatch --output="$out" --chdir="$DIR" --ntasks=1 --mem=50 --time=2 --wrap='srun --ntasks=1 --cpu-bind=q echo ran' >/dev/null \
    && until_ok 30 "the first job" grep -qx ran "$out" && return
  [ -e "$out" ] && cat "$out" >&2
  return 1
}

# ---------------------------------------------------------------- commands
start() {
  local node whole=0
  refuse_others
  status >/dev/null 2>&1 && whole=1
  if is_any_alive && [ "$(cat "$DIR/settings")" != "$SETTINGS" ]; then
    die "it runs with $(cat "$DIR/settings"): stop it first"
  fi
  trap 'remove_policy; stop' EXIT  # nothing half started is left
  trap 'exit 1' INT TERM HUP
  install -d -m 755 "$DIR"/{log,pids,spool,ctld,munge}
  install_missing
  is_any_alive || configure
  launch munged munged --foreground --force --key-file="$DIR/munge/key" --socket="$SOCKET" --pid-file="$DIR/munge/pid" \
    --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed"
  until_ok 20 munged munge --socket="$SOCKET" --no-input || die "munged does not start, see $DIR/log/munged.out"
  [ "$ACCOUNTING" = 1 ] && start_accounting
  launch slurmctld slurmctld -D -f "$DIR/slurm.conf"
  until_ok 30 slurmctld scontrol ping || die "slurmctld does not start, see $DIR/log/slurmctld.log"
  pid_of slurmctld >/dev/null || die "slurmctld has ended, see $DIR/log/slurmctld.log"
  for node in $NODES; do start_node "$node"; done
  until_ok 40 "the nodes" are_nodes_up || die "the nodes do not start, see $DIR/log/slurmd-n1.log"
  [ $whole = 1 ] || run_job || die "it does not work"
  trap - EXIT INT TERM HUP
  echo READY
}
stop() {
  local node name
  if pid_of slurmctld >/dev/null; then
    squeue -h -o %A | sort -u | xargs -r timeout 20 scancel
    until_ok 10 "the end of jobs" sh -c '[ -z "$(squeue -h)" ]'
  fi
  for node in $NODES; do end "slurmd-$node"; end_node "$node"; done
  for name in slurmctld slurmdbd mariadbd munged; do end "$name"; done
  [ "$(readlink $LINK)" = "$DIR/slurm.conf" ] && rm -f $LINK
  say STOPPED
}
status() {
  local name pid code=0
  [ -n "$(ours)" ] || { say "nothing runs"; return 3; }
  for name in $(ours); do
    if pid=$(pid_of "$name"); then echo "$name: process $pid"; else echo "$name has ended"; code=3; fi
  done
  for name in slurmctld slurmd-n1 slurmd-n2; do ours | grep -qx "$name" || { echo "$name does not run"; code=3; }; done
  return $code
}

[ "$(id -u)" = 0 ] || die "must be run as root"
case $DIR in /*) ;; *) die "CLUSTER_DIR must be an absolute path" ;; esac
case ${1:-} in
  start|stop|purge|node-*) install -d -m 755 "$DIR" && exec 9>"$DIR/lock" && flock 9 ;;  # one at a time
esac
case ${1:-} in
  start) start ;;
  stop) stop ;;
  status) status ;;
  node-fail) check_node "${2:-}"; end_node "$2" ;;
  node-up) check_node "${2:-}"; start_node "$2"; until_ok 40 "the nodes" are_nodes_up ;;
  purge) [ ! -e "$DIR/settings" ] || { stop && rm -rf -- "$DIR"; } ;;
  *) die "start, stop, status, node-fail NAME, node-up NAME or purge" ;;
esac
