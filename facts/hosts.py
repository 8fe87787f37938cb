"""What a host is, and whether it can take the cluster."""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override


class Identity(TypedDict):
    """os-release as it stands there, the kind of container ("" on a real host), sudo's answer.

    `ssh_port` is the port of the host that this very connection came in by, 0 without one.
    `addresses` are its own IPv4 addresses for others; none where `ip` is missing. `cores` are those
    that it may use, 1 where it does not tell.
    """

    os_release: dict[str, str]
    container: str
    sudo: bool
    ssh_port: int
    addresses: list[str]
    cores: int


class HostIdentity(FactBase[Identity | None]):
    """Return which system a host runs; needs no root, so that it can tell that root is missing."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(
            "cat /etc/os-release;"
            ' echo "pgha_container=$(systemd-detect-virt --container 2>/dev/null)";'
            ' echo "pgha_ssh_port=${SSH_CONNECTION##* }";'
            ' echo "pgha_cores=$(nproc 2>/dev/null)";'
            # A user's PATH may lack /usr/sbin, which is where `ip` stands on Enterprise Linux.
            ' echo "pgha_addresses=$(PATH="$PATH:/usr/sbin" ip -4 -o addr show 2>/dev/null'
            ' | awk \'{ sub("/.*", "", $4); printf "%s,", $4 }\')";'
            ' if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then echo pgha_sudo=yes; fi'
        )

    @override
    def process(self, output: list[str]) -> Identity:
        pairs = (line.partition("=") for line in output if "=" in line)
        values = {key: (shlex.split(value) or [""])[0] for key, _, value in pairs}
        addresses = values.pop("pgha_addresses", "").split(",")
        container = values.pop("pgha_container", "none")
        return Identity(
            sudo=values.pop("pgha_sudo", "") == "yes",
            ssh_port=int(values.pop("pgha_ssh_port", "") or 0),
            container="" if container == "none" else container,
            cores=int(values.pop("pgha_cores", "") or 1),
            addresses=[one for one in addresses if one and not one.startswith("127.")],
            os_release=values,
        )


class Room(TypedDict):
    """`data` is "absent", "empty", "cluster" (it has a PG_VERSION) or "other"; space in MiB.

    `managed` says that Patroni's configuration names this directory, `scope` which cluster's it is,
    `restoring` that a restore of it has begun and not ended.
    """

    data: str
    version: str
    free_mib: int
    managed: bool
    scope: str
    restoring: bool


class DataDirectory(FactBase[Room | None]):
    """Return what the data directory holds and how much room there is for it.

    + path: the data directory
    + patroni_config: Patroni's configuration file
    """

    @override
    def command(self, path: str, patroni_config: str) -> StringCommand:
        data, config = shlex.quote(path), shlex.quote(patroni_config)
        return StringCommand(
            f"dir={data}; if [ ! -d $dir ]; then data=absent;"
            " elif [ -e $dir/PG_VERSION ]; then data=cluster;"
            ' elif [ -z "$(ls -A $dir)" ]; then data=empty; else data=other; fi;'
            " echo data=$data; echo version=$(cat $dir/PG_VERSION 2>/dev/null);"
            " while [ ! -d $dir ]; do dir=$(dirname $dir); done;"
            " echo free=$(df -Pm $dir | awk 'NR == 2 { print $4 }');"
            f" echo managed=$(grep -c '^ *data_dir:.*'{data}'\"*$' {config} 2>/dev/null);"
            f" echo scope=$(sed -n 's/^scope: *//p' {config} 2>/dev/null | tr -d '\\042');"
            f" echo restoring=$(ls {data}.restore/plan 2>/dev/null)"
        )

    @override
    def process(self, output: list[str]) -> Room:
        values = dict(line.split("=", 1) for line in output)
        return Room(
            data=values["data"],
            version=values["version"],
            free_mib=int(values["free"]),
            managed=values["managed"] not in ("", "0"),
            scope=values["scope"],
            restoring=values["restoring"] != "",
        )
