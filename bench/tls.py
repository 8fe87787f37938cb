"""What TLS costs: pgbench through HAProxy with it and without, by turns, on the bench's cluster.

No member lets anybody in without TLS. For the time of this measurement the primary's pg_hba.conf
has one line more, which Patroni takes away when it next writes that file.
"""

import json
import re
from collections.abc import Callable, Mapping

from testbed.hosts import Host

BIN = "/usr/lib/postgresql/18/bin"
DATABASE = "app"
SSLMODES = ("disable", "verify-full")
# pgbench's own mix on long sessions, and its shortest query with a new session for each.
LOADS = {"transactions, long sessions": "-b tpcb-like", "a session for each query": "-S -C"}
SECONDS, CLIENTS, SCALE = 15, 4, 20


class Pgbench:
    """pgbench on a replica's host, through the proxy, as the application; `on` runs a command.

    + on: takes a host, a shell command and what it gets on stdin; returns what it prints
    """

    def __init__(
        self, on: Callable[[Host, str, str], str], members: list[Host], proxy: Host, password: str
    ) -> None:
        self.on, self.proxy, self.password = on, proxy, password
        url = f"https://{members[0].address}:8008/cluster"
        asked = f"curl -s --cacert /etc/pgha/ca.crt {url}"
        roles = {
            member["name"]: member["role"]
            for member in json.loads(on(members[0], asked, ""))["members"]
        }
        self.primary = next(one for one in members if roles[one.name] == "leader")
        self.client = next(one for one in members if roles[one.name] != "leader")

    def fill(self) -> None:
        """Fill the tables."""
        self._run("verify-full", f"-q -i -s {SCALE}")

    def let_in(self) -> None:
        """Let the proxy in without TLS."""
        line = f"host {DATABASE} app {self.proxy.address}/32 scram-sha-256"
        self.on(
            self.primary,
            f"sed -i '1i {line}' $(runuser -u postgres -- psql -XAtc 'SHOW hba_file')"
            " && runuser -u postgres -- psql -XAtqc 'SELECT pg_reload_conf()'",
            "",
        )

    def tidy(self) -> None:
        """Let Patroni write its pg_hba.conf again."""
        self.on(self.primary, "systemctl reload patroni", "")

    def per_second(self, sslmode: str, options: str, clients: int = CLIENTS) -> float:
        """Return the transactions per second that pgbench counted, connecting included."""
        told = self._run(sslmode, f"-n -c {clients} -j {min(clients, 2)} -T {SECONDS} {options}")
        found = re.search(r"^tps = ([0-9.]+)", told, re.M)
        if not found:
            raise ValueError(f"pgbench does not say how many: {told}")
        return float(found[1])

    def _run(self, sslmode: str, options: str) -> str:
        settings = f"PGSSLMODE={sslmode} PGSSLROOTCERT=/etc/pgha/ca.crt"
        where = f"-h {self.proxy.address} -p 5000 -U app"
        command = f"read -r PGPASSWORD; export PGPASSWORD; {settings} {BIN}/pgbench {options}"
        return self.on(self.client, f"cd / && {command} {where} {DATABASE}", f"{self.password}\n")


def measure(
    pgbench: Pgbench, rounds: int, say: Callable[[str], None]
) -> Mapping[tuple[str, str], list[float]]:
    """Return transactions per second by load and sslmode, one figure a round, taken by turns."""
    found: dict[tuple[str, str], list[float]] = {}
    pgbench.fill()
    pgbench.let_in()
    try:
        for _ in range(rounds):
            for load in LOADS:
                for sslmode in SSLMODES:
                    rate = pgbench.per_second(sslmode, LOADS[load])
                    found.setdefault((load, sslmode), []).append(rate)
                    say(f"{load}, sslmode={sslmode}: {rate:.0f} per second")
    finally:
        pgbench.tidy()
    return found
