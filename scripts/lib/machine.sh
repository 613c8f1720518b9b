#!/bin/bash
# machine.sh ROOT UNIT: systemd as the first process of a root file system, in name spaces and a cgroup of its own, to run
# UNIT, which ends it (SuccessAction=exit, FailureAction=exit): its status is the unit's. As root. 77 when systemd cannot
# run so here, with the reason on standard error.
set -euo pipefail
readonly root=$1 unit=$2 skipped=77

skip() {
    printf 'systemd cannot be process 1 here: %s\n' "$1" >&2
    exit "$skipped"
}

if [[ ${3:-} == first ]]; then
    # Process 1 of the name spaces. In a cgroup of its own before the name space of cgroups begins there.
    echo 0 >"$4/machine/cgroup.procs"
    exec unshare --cgroup bash "$0" "$root" "$unit" second
fi

if [[ ${3:-} == second ]]; then
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
    mkdir -p run/devices
    for name in null zero full random urandom tty; do
        touch "run/devices/$name"
        mount --bind "/dev/$name" "run/devices/$name"
    done
    mount -t tmpfs -o mode=755,nosuid tmpfs dev
    mkdir dev/pts dev/shm
    for name in null zero full random urandom tty; do
        touch "dev/$name"
        mount --move "run/devices/$name" "dev/$name"
    done
    rm -r run/devices
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ip link set lo up
    hostname cradle-try
    mkdir -p run/old
    pivot_root . run/old
    umount -l /run/old
    rmdir /run/old
    # As a manager of containers does it: credentials are mounted elsewhere, and come here by propagation.
    mount --make-rshared /
    exec env -i container=cradle PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit="$unit" --show-status=no --log-target=null
fi

[[ -x $root/lib/systemd/systemd ]] || skip "it is not installed in $root"
cgroups=$(mktemp -d /tmp/cradle-cgroup-XXXXXX)
own=$cgroups/cradle-machine-$$

# shellcheck disable=SC2317 # called at the end
finish() {
    trap '' INT TERM HUP
    # Deepest first; what ran in them has ended with its process 1.
    [[ ! -d $own ]] || find "$own" -depth -type d -exec rmdir {} + 2>/dev/null || true
    umount "$cgroups" 2>/dev/null || true
    rmdir "$cgroups"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

mount -t cgroup2 cgroup2 "$cgroups" 2>/dev/null || skip "no hierarchy of cgroups (version 2) can be mounted"
mkdir "$own" "$own/machine" 2>/dev/null || skip "no cgroup can be made"
# Controllers, as far as there are any: systemd works without them too.
for controller in $(<"$own/cgroup.controllers"); do
    echo "+$controller" >"$own/cgroup.subtree_control" 2>/dev/null || true
done
unshare --mount --pid --fork --net --uts --ipc true 2>/dev/null || skip "no name spaces can be made"
status=0
unshare --mount --propagation private --pid --fork --kill-child --net --uts --ipc bash "$0" "$root" "$unit" first "$own" || status=$?
exit "$status"
