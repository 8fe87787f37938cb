"""Which ports a host gets through to, and which addresses it has."""

import shlex

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class OpenPorts(FactBase[dict[str, bool] | None]):
    """Return for each target whether a TCP connection comes about within two seconds.

    + targets: such as "10.0.0.11:2379"; all are tried at the same time

    .. code:: python

        {"10.0.0.11:2379": True, "10.0.0.11:8008": False}
    """

    @override
    def command(self, targets: list[str]) -> StringCommand:
        return StringCommand(
            f"for target in {' '.join(map(shlex.quote, targets))}; do"
            " ( if timeout 2 bash -c '</dev/tcp/'${target%:*}/${target##*:} 2>/dev/null;"
            ' then echo "open $target"; else echo "closed $target"; fi ) & done; wait; echo end'
        )

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        words = [line.split() for line in output]
        return {found[1]: found[0] == "open" for found in words if len(found) == 2}


class InterfaceOf(FactBase[str | None]):
    """Return the interface that has an IPv4 address now; "" when none has it.

    + address: such as "10.0.0.31"
    """

    @override
    def command(self, address: str) -> StringCommand:
        return StringCommand("ip -o -4 address show to", QuoteString(address), "&& echo end")

    @override
    def process(self, output: list[str]) -> str:
        return next((line.split()[1] for line in output if line != "end"), "")
