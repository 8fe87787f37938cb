#!/bin/sh
# Gives systemd what it expects of a machine, then becomes systemd.
set -eu

# Docker shows its containers cgroup v1, or v2 read-only; systemd needs a v2 tree it can write.
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ] || [ ! -w /sys/fs/cgroup/cgroup.procs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

# Each host makes its own identity at first boot: the image carries none.
[ -s /etc/machine-id ] || systemd-machine-id-setup
ssh-keygen -A

exec /sbin/init
