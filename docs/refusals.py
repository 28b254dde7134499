"""
Print the page on refusals, which is made from the table of the known reasons.

``python docs/refusals.py > docs/reference/refusals.md``
"""

import sys
from collections.abc import Iterator

from pytest_nsisolate.cause import Cause
from pytest_nsisolate.remedies import CAUSES

HEAD = """\
# Refusals

Why a sandbox cannot be had, how that is told, and what to type.
The reasons are looked for in this order, and the first that applies is shown in the \
lines `why:` and `fix:` of the [error](errors.md); the call that was refused stands in \
the line before.
[The doctor](../how-to/ask-the-doctor.md) shows them all at once.
Names and numbers stand for those of your machine.

This page is made from the table that the errors are made from, \
`pytest_nsisolate/remedies.py`.
"""

KINDS = {"docker": "Docker", "podman": "Podman", "kubernetes": "Kubernetes"}


def section(cause: Cause) -> Iterator[str]:
    """
    Yield the lines on *cause*.
    """
    yield f"## {cause.title}"
    yield ""
    yield "```text"
    yield f"why: {cause.why.format_map(cause.example)}"
    yield f"fix: {cause.fix.format_map(cause.example)}"
    yield "```"
    if cause.fixes:
        yield ""
        yield "Where the kind of container can be told:"
        yield ""
        yield "```text"
        for kind, fix in cause.fixes.items():
            yield f"{KINDS[kind]}: {fix.format_map(cause.example)}"
        yield "```"
    yield ""
    yield f"Told by\n: {cause.told_by}."
    yield ""
    yield f"Where\n: {cause.environments}."
    yield ""
    yield f"Source\n: {cause.source}."


def page() -> str:
    """
    Return the page.
    """
    sections = ["\n".join(section(cause)) + "\n" for cause in CAUSES]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    sys.stdout.write(page())
