"""
An INTERNALERROR: the text that pytest has made of an error in a hook.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

from typing import Any

import pytest


def renew_text(text: Any, error: BaseException) -> None:
    """
    Make *text*, the `excrepr` of `pytest_internalerror`, anew from *error*.
    """
    # Since 2.9 these attributes are the text. Public would be: pytest_internalerror
    # called before the text is made.
    old = text.reprtraceback
    fresh = pytest.ExceptionInfo.from_exception(error).getrepr(
        showlocals=any(getattr(one, "reprlocals", None) for one in old.reprentries),
        funcargs=True,
        style=old.style,
    )
    vars(text).update(vars(fresh))
