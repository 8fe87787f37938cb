"""What other hosts say, asked once: sshd takes ten sessions per connection (its MaxSessions).

Without this, a fact of the repository host that every database host wants to know would be asked as
often, at the same time, over the one connection to it; the eleventh would be refused.
"""

from collections import defaultdict
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from pyinfra import inventory, state
from pyinfra.api import FactBase

T = TypeVar("T")

_answers: WeakKeyDictionary[Any, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()
_turns: defaultdict[str, BoundedSemaphore] = defaultdict(BoundedSemaphore)


def ask(name: str, fact: type[FactBase[T]], **arguments: Any) -> T:
    """Return a fact of the host `name`; the first to ask asks, in each stage of the run.

    Only for what does not change within a stage. Raises pyinfra's ConnectError for a host that
    cannot be reached.
    """
    peer = inventory.get_host(name)
    question = (bool(state.is_executing), fact, repr(arguments))
    with _turns[name]:
        known = _answers.setdefault(peer, {})
        if question not in known:
            known[question] = peer.get_fact(fact, **arguments, _sudo=True)
        answer: T = known[question]
        return answer
