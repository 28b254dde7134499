"""
Generator of the page on refusals, from the table of known causes.

Run this to write the page again:

``python docs/refusals.py > docs/reference/refusals.md``
"""

import sys
from collections.abc import Iterator

from pytest_nsisolate.diagnosis.causes import CAUSES, Cause
from pytest_nsisolate.diagnosis.engines import ENGINES, Needs
from pytest_nsisolate.linux import capabilities

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

TAIL = """\
## In a container

If the engine of the container is known, the line `fix:` has everything that it must \
be told, not only what the refused call needs.

Root is told how to get the capabilities with which pytest needs no user namespace. \
The masks on `/proc` are then no obstacle, unless they are locked, since they come \
from outside of the user namespace that the container is in:

```text
{root}
```

Others are told how to allow user namespaces:

```text
{user}
```

Where AppArmor or SELinux is on, both lines also have what turns off its profile or \
label.
"""

#: What the engine has to be told for root, and for other users.
ROOT = Needs(capabilities=(capabilities.SYS_ADMIN, capabilities.NET_ADMIN))
USER = Needs(seccomp=True, proc=True)


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
    if cause.contained:
        yield ""
        start = ENGINES["docker"].write(ROOT)
        yield "[In a container](#in-a-container), for example for root in Docker:"
        yield ""
        yield "```text"
        yield f"fix: {cause.contained.format_map({**cause.example, 'start': start})}"
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
    tail = TAIL.format(root=_lines(ROOT), user=_lines(USER))
    return "\n".join([HEAD, *sections, tail])


def _lines(needs: Needs) -> str:
    return "\n".join(f"{one.title}: {one.write(needs)}" for one in ENGINES.values())


if __name__ == "__main__":
    sys.stdout.write(page())
