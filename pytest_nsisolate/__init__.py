"""
Run marked tests in IPC, UTS and PID namespaces of their own.

The pytest plugin is `pytest_nsisolate.plugin`, entry point ``nsisolate``. This package
file imports nothing: the launcher, a bare interpreter, imports it too.
"""

__version__ = "0.1.0"
