"""
Runs of the doctor, and what it has found.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from ways import KEEP, PLAIN

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.model.user_namespace import UserNamespace

#: What the doctor calls each way.
SAID = {
    PLAIN: doctor.WAYS[UserNamespace.NONE],
    KEEP: doctor.WAYS[UserNamespace.KEPT],
}

DOCTOR = [sys.executable, "-m", "pytest_nsisolate"]


def examine(pytester: pytest.Pytester, *command: str) -> dict[str, Any]:
    """
    Return what the doctor prints as JSON, with its exit status.
    """
    result = pytester.run(*command, timeout=120)
    assert result.stderr.str() == ""
    return {**json.loads(result.stdout.str()), "status": result.ret}


def refused(found: dict[str, Any], way: str) -> dict[str, str]:
    """
    Return what is refused in *found* by *way*, with the errno.
    """
    return {
        one["name"]: one["errno"]
        for one in found["trials"]
        if one["errno"] and one["way"] == SAID[way]
    }
