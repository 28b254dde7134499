"""
The chain of an exception: itself, and all that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator


def chain(error: BaseException) -> Iterator[BaseException]:
    """
    Yield *error*, what it groups or wraps, and what it was raised from or during.
    """
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        # Groups are new in Python 3.11.
        grouped = attribute(one, "exceptions")
        inner = [*grouped] if isinstance(grouped, tuple) else []
        # Clients of HTTP keep what they wrap in an argument or, as urllib does, here.
        wrapped = [*one.args, attribute(one, "reason")]
        found = [one.__cause__, context, *inner, *wrapped]
        waiting += [each for each in found if isinstance(each, BaseException)]


def attribute(error: BaseException, name: str) -> object:
    """
    Return the attribute *name* of *error*, None if it has none or that raises.
    """
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - whatever a property raises
        return None
