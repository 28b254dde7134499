"""
Runs of the doctor and their findings.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from ways import KEEP, PLAIN

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.model.user_namespace import UserNamespace

#: How the doctor names each way.
SAID = {
    PLAIN: doctor.WAYS[UserNamespace.NONE],
    KEEP: doctor.WAYS[UserNamespace.KEPT],
}

DOCTOR = [sys.executable, "-m", "pytest_nsisolate"]


def examine(pytester: pytest.Pytester, *command: str) -> dict[str, Any]:
    """
    Return the doctor's JSON output and its exit status.
    """
    result = pytester.run(*command, timeout=120)
    assert result.stderr.str() == ""
    return {**json.loads(result.stdout.str()), "status": result.ret}


def refused(found: dict[str, Any], way: str) -> dict[str, str]:
    """
    Return what *found* lists as refused for *way*, with the errno.
    """
    return {
        one["name"]: one["errno"]
        for one in found["trials"]
        if one["errno"] and one["way"] == SAID[way]
    }
