"""
Tables of keywords, printed from their declarations in `Spec`.

``python docs/keyword_tables.py`` prints the table of ``reference/marker.md``, then that
of ``reference/sandbox-factory.md``.
"""

import sys

from pytest_nsisolate.model.spec import KEYWORDS


def of_marker() -> str:
    """
    Return the table for the page on the marker.
    """
    rows = [
        f"| `{one.name}` | {one.check.takes} | `None` | {one.doc} |\n"
        for one in KEYWORDS
    ]
    return "".join(
        ["| Keyword | Type | Default | Meaning |\n", "|---|---|---|---|\n", *rows]
    )


def of_factory() -> str:
    """
    Return the table for the page on boxes.
    """
    rows = [f"| `{one.name}` | {one.box_doc} |\n" for one in KEYWORDS if one.box]
    return "".join(["| Keyword | Meaning |\n", "|---|---|\n", *rows])


if __name__ == "__main__":
    sys.stdout.write(f"{of_marker()}\n{of_factory()}")
