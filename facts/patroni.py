"""What Patroni's REST interface says; None means that it did not answer."""

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from identities import ASK


class Member(TypedDict):
    """One member of /cluster; `timeline` and `lag` (bytes) are None where Patroni cannot tell."""

    name: str
    role: str
    state: str
    timeline: int | None
    lag: int | None
    pending_restart: bool


class PatroniCluster(FactBase[list[Member] | None]):
    """Return the members as one of them sees the cluster.

    + url: base URL of that member's REST interface
    """

    @override
    def requires_command(self, url: str) -> str:
        return "curl"

    @override
    def command(self, url: str) -> StringCommand:
        return StringCommand(ASK, QuoteString(f"{url}/cluster"), "2>/dev/null || echo null")

    @override
    def process(self, output: list[str]) -> list[Member] | None:
        answer: dict[str, Any] | None = json.loads("\n".join(output))
        return None if answer is None else _members(answer)


class PatroniConfig(FactBase[dict[str, Any] | None]):
    """Return the live dynamic configuration, as etcd keeps it for all members.

    + url: base URL of a member's REST interface
    """

    @override
    def requires_command(self, url: str) -> str:
        return "curl"

    @override
    def command(self, url: str) -> StringCommand:
        # A member tells /config from its memory; asked for /cluster, it looks into etcd first.
        return StringCommand(
            ASK, QuoteString(f"{url}/cluster"), ">/dev/null 2>&1;",
            ASK, QuoteString(f"{url}/config"), "2>/dev/null || echo null",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = json.loads("\n".join(output))
        return answer


# No standby may have these lower than its primary (PostgreSQL, "Administrator's Overview" of hot
# standby); Patroni keeps a standby at the primary's old value until that has changed.
STANDBY_BOUND = frozenset(
    {
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_wal_senders",
        "max_worker_processes",
    }
)


class Status(Member):
    """What a member says of itself; fields as in decisions.PatroniMember."""

    lowers: bool
    only_lowers: bool
    replayed: int | None


class PatroniStatus(FactBase[list[Status] | None]):
    """Return what each member says of itself right now; /cluster lags behind by a loop.

    + urls: base URLs of the members' REST interfaces by member name; state is "unreachable" for
      one that does not answer
    """

    @override
    def requires_command(self, urls: dict[str, str]) -> str:
        return "curl"

    @override
    def command(self, urls: dict[str, str]) -> StringCommand:
        words = " ".join(f"{name}={url}/patroni" for name, url in urls.items())
        return StringCommand(
            f'for pair in {words}; do echo "${{pair%%=*}} '
            f'$({ASK} "${{pair#*=}}" 2>/dev/null || echo null)"; done'
        )

    @override
    def process(self, output: list[str]) -> list[Status]:
        answers = [line.split(" ", 1) for line in output]
        told = {name: json.loads(text) or {} for name, text in answers}
        written = max((_lsn(answer, "location") for answer in told.values()), default=0)
        return [_status(name, answer, written) for name, answer in told.items()]


def _status(name: str, answer: dict[str, Any], written: int) -> Status:
    is_leader = answer.get("role") in ("primary", "master", "standby_leader")
    role = next(
        (role for role in ("quorum_standby", "sync_standby") if answer.get(role)), "replica"
    )
    reasons = answer.get("pending_restart_reason") or {}
    lowered = {parameter for parameter, values in reasons.items() if _lowers(parameter, values)}
    state = answer.get("state", "unreachable")
    received = _lsn(answer, "received_location")
    return Status(
        name=name,
        role="leader" if is_leader else role,
        state=state if is_leader else answer.get("replication_state", state),
        timeline=_number(answer.get("timeline")),
        lag=max(0, written - received) if received else None,
        pending_restart=bool(answer.get("pending_restart")),
        lowers=bool(lowered),
        only_lowers=bool(lowered) and lowered == set(reasons),
        replayed=_lsn(answer, "replayed_location") or None,
    )


def _lowers(parameter: str, values: dict[str, str]) -> bool:
    return parameter in STANDBY_BOUND and int(values["new_value"]) < int(values["old_value"])


def _lsn(answer: dict[str, Any], key: str) -> int:
    return int((answer.get("xlog") or {}).get(key) or 0)


def _members(answer: dict[str, Any]) -> list[Member]:
    return [
        Member(
            name=member["name"],
            role=member["role"],
            state=member["state"],
            timeline=_number(member.get("timeline")),
            lag=_number(member.get("lag")),
            pending_restart=bool(member.get("pending_restart")),
        )
        for member in answer["members"]
    ]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
