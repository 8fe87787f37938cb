"""Clients that write, probe and read until they are told to stop: a process of its own.

    python -m faults.load <answers.jsonl

The first line of stdin is a `Plan` as JSON, the password in it; the end of stdin ends the load.
Every answer goes to stdout at once, as `answers.line` writes it.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from psycopg import errors

from faults import answers
from faults.answers import Probe, Reading, Write

Connection = psycopg.Connection[tuple[Any, ...]]

PROBE_SECONDS = 0.1
RETRY_SECONDS = 0.05
# A host that vanishes sends nothing more: a client that waits for it has to ask by itself. With
# these libpq gives up about three seconds after the last answer of the other side's kernel.
KEEPALIVES = {
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
}
INSERT = (
    "INSERT INTO {table} VALUES (%s) RETURNING"
    " left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), host(inet_server_addr())"
)
# A replica says so itself: an error each time would fill its log.
PROBE = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN 'replica'"
    " WHEN pg_logical_emit_message(true, 'pgha', 'probe') IS NOT NULL THEN 'acknowledged' END"
)
WHO = "SELECT host(inet_server_addr()), NOT pg_is_in_recovery()"


@dataclass(frozen=True)
class Plan:
    """Whom to write to, probe and read from.

    + login: options of every connection: user, password, dbname, sslmode, sslrootcert
    + write: host and port of the write port
    + read: host and port of the read port; nothing is read without
    + nodes: address by name of the members that are probed
    + node_port: PostgreSQL's port there
    + writers: clients that write side by side
    + pause: seconds that each of them rests between two writes
    + table: made before, with one column of type bigint
    """

    login: dict[str, str]
    write: tuple[str, int]
    read: tuple[str, int] | None = None
    nodes: dict[str, str] = field(default_factory=dict)
    node_port: int = 5432
    writers: int = 2
    pause: float = 0.005
    table: str = "pgha_faults"

    def json(self) -> str:
        """Return the plan as one line; it has the password in it."""
        return json.dumps(asdict(self))

    def connect(self, host: str, port: int) -> Connection:
        """Return a connection that gives up a silent server after some three seconds."""
        options: dict[str, Any] = {"connect_timeout": 3, **KEEPALIVES, **self.login}
        # PgBouncer's sessions have no prepared statements of their own.
        return psycopg.connect(
            host=host, port=port, autocommit=True, prepare_threshold=None, **options
        )


class Load:
    """All clients of one plan."""

    def __init__(self, plan: Plan, tell: Callable[[answers.Answer], None]) -> None:
        self.plan, self.tell = plan, tell
        self.done = threading.Event()

    def run(self) -> None:
        """Return once the load was told to stop and every client has."""
        threads = [
            threading.Thread(target=self.write, args=(number,))
            for number in range(self.plan.writers)
        ]
        threads += [
            threading.Thread(target=self.probe, args=(name, address))
            for name, address in self.plan.nodes.items()
        ]
        if self.plan.read:
            threads.append(threading.Thread(target=self.read, args=self.plan.read))
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.done.set()
        for thread in threads:
            thread.join()

    def write(self, number: int) -> None:
        """Insert one id after the other over a session that is made anew when it breaks."""
        session = Session(lambda: self.plan.connect(*self.plan.write))
        insert = INSERT.format(table=self.plan.table)
        identifier = number
        while not self.done.is_set():
            self.tell(_written(session, insert, identifier))
            identifier += self.plan.writers
            self.done.wait(self.plan.pause if session.is_open else RETRY_SECONDS)
        session.close()

    def probe(self, node: str, address: str) -> None:
        """Try a write on one member each tenth of a second."""
        session = Session(lambda: self.plan.connect(address, self.plan.node_port))
        while not self.done.is_set():
            began = time.time()
            try:
                (told,) = session.ask(PROBE)
                if session.warned:
                    told = "none"
            except psycopg.Error:
                told = "none"
            self.tell(Probe(node, began, time.time(), told))
            self.done.wait(max(0.0, began + PROBE_SECONDS - time.time()))
        session.close()

    def read(self, host: str, port: int) -> None:
        """Ask the read port who answers, over a new session each time."""
        while not self.done.is_set():
            began = time.time()
            who, by_leader = "", False
            try:
                with self.plan.connect(host, port) as connection:
                    row = connection.execute(WHO).fetchone()
                who, by_leader = row or ("", False)
            except psycopg.Error:
                pass
            self.tell(Reading(began, time.time(), who, by_leader))
            self.done.wait(max(0.0, began + 2 * PROBE_SECONDS - time.time()))


class Session:
    """A connection that is made when it is needed, and made anew after it broke."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self.warned = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def open(self) -> Connection:
        """Return the connection; raises psycopg.Error when there is none to be had."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            self._connection.add_notice_handler(self._warn)
        return self._connection

    def ask(self, query: str, values: tuple[object, ...] = ()) -> tuple[Any, ...]:
        """Return the row of an answer; `warned` says whether PostgreSQL doubts it."""
        self.warned = False
        return self.open().execute(query, values).fetchone() or ()

    def _warn(self, notice: psycopg.errors.Diagnostic) -> None:
        # "canceling wait for synchronous replication": it is written here, and maybe nowhere else.
        self.warned = self.warned or notice.severity_nonlocalized == "WARNING"

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _written(session: Session, insert: str, identifier: int) -> Write:
    began = time.time()
    try:
        session.open()
    except psycopg.Error as error:
        return Write(identifier, began, time.time(), "failed", error=_first_line(error))
    try:
        timeline, who = session.ask(insert, (identifier,))
    except psycopg.Error as error:
        # Who answers with an error has not committed; but for a server that ends (57), and for a
        # pooler whose server is gone (08).
        refused = error.sqlstate is not None and error.sqlstate[:2] not in ("57", "08")
        read_only = isinstance(error, errors.ReadOnlySqlTransaction)
        if read_only:
            session.close()
        return Write(
            identifier, began, time.time(), "failed" if refused else "unknown",
            error=_first_line(error), by_replica=read_only,
        )  # fmt: skip
    if session.warned:
        return Write(identifier, began, time.time(), "unknown", error="the commit was not awaited")
    return Write(identifier, began, time.time(), "acknowledged", timeline, who)


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def main() -> None:
    """Run the plan that stdin tells."""
    fields = json.loads(sys.stdin.readline())
    fields["write"] = tuple(fields["write"])
    fields["read"] = tuple(fields["read"]) if fields["read"] else None
    lock = threading.Lock()

    def tell(answer: answers.Answer) -> None:
        text = answers.line(answer)
        with lock:
            print(text, flush=True)

    Load(Plan(**fields), tell).run()


if __name__ == "__main__":
    main()
