"""
Tables of keywords, printed from their declarations in `Spec`.

``python docs/keyword_tables.py`` prints the signature and the table of
``reference/marker.md``, then the table of ``reference/sandbox-factory.md``.
"""

import sys
import textwrap

from pytest_nsisolate.model.spec import KEYWORDS


def signature() -> str:
    """
    Return the signature of the marker, in lines that fit on the screen of a telephone.
    """
    keywords = ", ".join(["*", *(f"{one.name}=None" for one in KEYWORDS)])
    lines = textwrap.fill(f"{keywords},", 36)
    return f"@pytest.mark.isolated(\n{textwrap.indent(lines, '    ')}\n)\n"


def of_marker() -> str:
    """
    Return the table for the page on the marker.
    """
    rows = [f"| `{one.name}` | {one.check.takes} | {one.doc} |\n" for one in KEYWORDS]
    return "".join(["| Keyword | Type | Meaning |\n", "|---|---|---|\n", *rows])


def of_factory() -> str:
    """
    Return the table for the page on boxes.
    """
    rows = [f"| `{one.name}` | {one.box_doc} |\n" for one in KEYWORDS if one.box]
    return "".join(["| Keyword | Meaning |\n", "|---|---|\n", *rows])


if __name__ == "__main__":
    sys.stdout.write(f"{signature()}\n{of_marker()}\n{of_factory()}")
