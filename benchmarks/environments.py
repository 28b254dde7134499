"""
Virtual environments: this plugin and its peers, all on the same pytest.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from accounting import Accounting, Failed, clean_environment

ROOT = Path(__file__).resolve().parent.parent

#: Versions of pytest, newest first: pytest-forked fails every test on 9.2.
_CANDIDATES = ("9.2.*", "9.1.*", "9.0.*", "8.4.*")

#: What is installed in each, besides pytest.
_PACKAGES = {
    "plain": [],
    "ours": [str(ROOT)],
    "pytest-forked": ["pytest-forked"],
    "pytest-isolate": ["pytest-isolate"],
    "pytest-isolated": ["pytest-isolated"],
    "pytest-xdist": ["pytest-xdist", "pytest-forked"],
}


class Environments:
    """
    The environments of one interpreter, made when they are first needed.
    """

    def __init__(self, base: Path, python: str, accounting: Accounting) -> None:
        self._base = base
        self._python = python
        self._made: dict[str, str] = {}
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        self.version = _output([python, "-c", code])
        for candidate in _CANDIDATES:
            self._pytest = f"pytest=={candidate}"
            forked = self._make("pytest-forked", f"forked-{candidate[:3]}")
            test = base / "test_candidate.py"
            test.write_text("def test_one(): pass\n")
            try:
                accounting.run(
                    [forked, "-m", "pytest", "--forked", test.name],
                    base,
                )
            except Failed:
                continue
            self._made["pytest-forked"] = forked
            code = "import pytest; print(pytest.__version__)"
            self.pytest = _output([forked, "-c", code])
            return
        raise SystemExit("pytest-forked passes on no version of pytest that was tried")

    def interpreter(self, name: str) -> str:
        """
        Return the interpreter of environment *name*.
        """
        if name not in self._made:
            self._made[name] = self._make(name, name)
        return self._made[name]

    def _make(self, name: str, directory: str) -> str:
        """
        Make environment *name* in *directory*, and return its interpreter.
        """
        path = self._base / f"python{self.version}" / directory
        subprocess.run([self._python, "-m", "venv", path], check=True)
        interpreter = str(path / "bin" / "python")
        packages = [self._pytest, *_PACKAGES[name]]
        install = [interpreter, "-m", "pip", "install", "--quiet", *packages]
        try:
            _output(install)
        except subprocess.CalledProcessError as why:
            raise Failed(why.stderr) from why
        return interpreter


def _output(command: list[str]) -> str:
    """
    Return what *command* prints, without the line's end.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        check=True,
        # Bytecode is compiled by pip, whatever pytest may write.
        env=clean_environment()
        | {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        text=True,
    )
    return done.stdout.strip()
