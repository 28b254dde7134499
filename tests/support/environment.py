"""
Environment variables that change what pytest or Python does.

People and CI services set them; no test may depend on it.
"""

from __future__ import annotations

import os

#: Pytest takes the first two for a sign of CI, and then cuts no line short.
#: Source: pytest's manual, "Environment Variables"; python(1), "ENVIRONMENT VARIABLES".
_NAMES = """
    CI BUILD_NUMBER
    COLUMNS LINES FORCE_COLOR NO_COLOR PY_COLORS PYTHON_COLORS
    PYTEST_ADDOPTS PYTEST_DEBUG PYTEST_PLUGINS PYTEST_THEME PYTEST_THEME_MODE
    PYTHONASYNCIODEBUG PYTHONBREAKPOINT PYTHONDEVMODE PYTHONDONTWRITEBYTECODE
    PYTHONFAULTHANDLER PYTHONOPTIMIZE PYTHONPYCACHEPREFIX PYTHONSAFEPATH
    PYTHONTRACEMALLOC PYTHONUNBUFFERED PYTHONVERBOSE PYTHONWARNINGS
"""
CHANGING = tuple(_NAMES.split())


def unchanging() -> dict[str, str]:
    """
    Return the environment without these variables.
    """
    return {name: value for name, value in os.environ.items() if name not in CHANGING}
