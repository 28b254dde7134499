"""
The line of the plugin in pytest's header.
"""

from __future__ import annotations

from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.linux import namespaces
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import user_namespace_for
from pytest_nsisolate.settings.options import Options

#: The only call that ``proc=False`` makes unnecessary.
PROC = "mount(proc, /proc)"


def line(chosen: Options, pool: ProbedPool) -> str:
    """
    Return the line: the namespaces, or why they are unavailable.
    """
    spec, unavailable = Spec(), ""
    refused = pool.probe(spec)
    if refused is not None:
        becomes = {"fail": "fail", "skip": "are skipped"}[chosen.unavailable]
        spec = Spec(proc=False)
        if refused.call != PROC or pool.probe(spec) is not None:
            return f"nsisolate: unavailable, isolated tests {becomes} ({refused})"
        unavailable = f" with proc=False, other isolated tests {becomes} ({refused})"
    plain = user_namespace_for(spec) is UserNamespace.NONE
    means = "no user namespace" if plain else "user namespace"
    kept = ", /proc fresh" if refused is None else ""
    own = " ".join(one.name for one in namespaces.asked_for(spec))
    return f"nsisolate: {own} ({means}{kept}){unavailable}"
