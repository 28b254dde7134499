"""
Generator of the page on refusals, from the table of known causes.

Run this to write the page again:

``python docs/refusals.py > docs/reference/refusals.md``
"""

import sys
from collections.abc import Iterator

from pytest_nsisolate.diagnosis.causes import CAUSES, Cause

HEAD = """\
# Refusals: causes and fixes

This page lists the causes for which the plugin cannot make a sandbox, and for each of \
them what to type.
The plugin checks them in this order, and shows the first that applies in the lines \
`why:` and `fix:` of the [error](errors.md). The first line of the error names the \
call that was refused.
[The doctor](../how-to/ask-the-doctor.md) shows all of them at once.
In the texts, names and numbers stand for those on your machine.

This page is generated from the table that the plugin uses for its errors.
"""

KINDS = {"docker": "Docker", "podman": "Podman", "kubernetes": "Kubernetes"}


def section(cause: Cause) -> Iterator[str]:
    """
    Yield the lines about *cause*.
    """
    yield f"## {cause.title}"
    yield ""
    yield "```text"
    yield f"why: {cause.why.format_map(cause.example)}"
    yield f"fix: {cause.fix.format_map(cause.example)}"
    yield "```"
    if cause.fixes:
        yield ""
        yield "If the kind of container is known:"
        yield ""
        yield "```text"
        for kind, fix in cause.fixes.items():
            yield f"{KINDS[kind]}: {fix.format_map(cause.example)}"
        yield "```"
    yield ""
    yield f"Recognised by\n: {cause.evidence}."
    yield ""
    yield f"Where\n: {cause.environments}."
    yield ""
    yield f"Source\n: {cause.source}."


def page() -> str:
    """
    Return the whole page.
    """
    sections = ["\n".join(section(cause)) + "\n" for cause in CAUSES]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    sys.stdout.write(page())
