#!/bin/sh
# keep.sh KEEPER_CGROUP HOST_CGROUPS_FILE COMMAND... : run a host, and start it again after each reboot.
# The keeper has a cgroup of its own. If only the host's cgroup is killed, the keeper sees the end and exits too.
# HOST_CGROUPS_FILE has the host's cgroup in every hierarchy, one on each line.
set -eu
keeper=$1 groups=$2
shift 2
echo $$ > "$keeper/cgroup.procs"
while :; do
  status=0
  # shellcheck disable=SC2016 # $$ belongs to the inner shell: it enters the cgroups, then becomes the host
  sh -ec 'while read -r group; do echo $$ > "$group/cgroup.procs"; done < "$0"; exec "$@"' "$groups" "$@" || status=$?
  echo "host ended with status $status"
  [ "$status" = 133 ] || exit "$status" # systemd-nspawn --keep-unit: 133 is a reboot from inside
  while read -r group; do
    find "$group" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null || :
  done < "$groups"
done
