"""
The line in pytest's header.
"""

from __future__ import annotations

from pytest_nsisolate.launcher import PLAIN
from pytest_nsisolate.launching import identity_for
from pytest_nsisolate.options import Options
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.spec import NAMESPACES, Spec

#: The one call that ``proc=False`` does without.
PROC = "mount(proc, /proc)"


def line(chosen: Options, pool: Pool) -> str:
    """
    Return what isolation comes to in this session.
    """
    if chosen.off:
        return "nsisolate: off, isolated tests run on the host (--no-nsisolate)"
    spec, unavailable = Spec(), ""
    refused = pool.probe(spec)
    if refused is not None:
        becomes = {"fail": "fail", "skip": "are skipped"}[chosen.unavailable]
        spec = Spec(proc=False)
        if refused.call != PROC or pool.probe(spec) is not None:
            return f"nsisolate: unavailable, isolated tests {becomes} ({refused})"
        unavailable = f" with proc=False, other isolated tests {becomes} ({refused})"
    plain = identity_for(spec) == PLAIN
    means = "no user namespace" if plain else "user namespace"
    kept = ", /proc fresh" if refused is None else ""
    return f"nsisolate: {' '.join(NAMESPACES)} ({means}{kept}){unavailable}"
