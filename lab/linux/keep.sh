#!/bin/sh
# keep.sh KEEPER_CGROUP HOST_CGROUPS_FILE COMMAND... : runs a host, and again each time it reboots itself.
# The keeper has a cgroup of its own: killing the host's leaves the keeper to see it and end, killing both ends all.
# HOST_CGROUPS_FILE names the host's cgroup in every hierarchy, one a line.
set -eu
keeper=$1 groups=$2
shift 2
echo $$ > "$keeper/cgroup.procs"
while :; do
  status=0
  # shellcheck disable=SC2016 # $$ is the inner shell's: it enters the cgroups, then becomes the host
  sh -ec 'while read -r group; do echo $$ > "$group/cgroup.procs"; done < "$0"; exec "$@"' "$groups" "$@" || status=$?
  echo "host ended with status $status"
  [ "$status" = 133 ] || exit "$status" # systemd-nspawn --keep-unit: 133 is a reboot asked for from inside
  while read -r group; do
    find "$group" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null || :
  done < "$groups"
done
