"""
The line ``fix:``, typed literally.
"""

from __future__ import annotations

import dataclasses
import re

from rows import ROOT, USER, Row

#: A command with its options, which end where the sentence goes on.
_COMMAND = re.compile(
    r"(?P<command>docker run|podman run|systemd-nspawn|bwrap)"
    r"(?P<options> -.*?)(?=, |; |$)"
)
_WITHOUT = re.compile(r"run bwrap (?P<added>-.*? )?without (?P<option>--\S+)")

#: What is typed to become root, or someone else, inside.
_AS_ROOT = re.compile(r" --user[ =](0|root)\b")


def typed(fix: str, row: Row, user: str, command: str) -> tuple[Row, str] | None:
    """
    Return how *row* is started after *fix*, and as whom; None if it says nothing new.

    Args:
        fix: The line, without its beginning.
        row: How the container was started.
        user: Who ran pytest inside.
        command: What is typed for the engine.
    """
    if (without := _WITHOUT.search(fix)) and command == "bwrap":
        options = row.options.replace(without["option"], "")
        return _with(row, f"{options} {without['added'] or ''}"), user
    for found in _COMMAND.finditer(fix):
        if found["command"] == command:
            options = _AS_ROOT.sub("", found["options"]).strip()
            user = ROOT if _AS_ROOT.search(found["options"]) else user
            return _with(row, f"{row.options} {options}"), user
    if "systemd-nspawn instead of chroot" in fix and command == "chroot":
        return Row("nspawn"), user
    if "as a user other than root" in fix and user == ROOT:
        return _with(row, row.options.replace("--uid 0", "")), USER
    return None


def _with(row: Row, options: str) -> Row:
    return dataclasses.replace(row, options=" ".join(options.split()))
