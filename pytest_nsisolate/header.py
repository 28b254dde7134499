"""
The line in pytest's header.
"""

from __future__ import annotations

from pytest_nsisolate.launcher import PLAIN
from pytest_nsisolate.options import Options
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.sandbox import identity_for
from pytest_nsisolate.spec import NAMESPACES, Spec


def line(chosen: Options, pool: Pool) -> str:
    """
    Return what isolation comes to in this session.
    """
    if chosen.off:
        return "nsisolate: off, isolated tests run on the host (--no-nsisolate)"
    refused = pool.probe(Spec())
    if refused is not None:
        becomes = {"fail": "fail", "skip": "are skipped"}[chosen.unavailable]
        return f"nsisolate: unavailable, isolated tests {becomes} ({refused})"
    plain = identity_for(Spec()) == PLAIN
    means = "no user namespace" if plain else "user namespace"
    return f"nsisolate: {' '.join(NAMESPACES)} ({means}, /proc fresh)"
