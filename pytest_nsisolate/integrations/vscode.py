"""
The plugin of VS Code, which writes results to a pipe of the editor, as in a plain run.

It tells of a skipped test before that runs. Where tests share a guest, this would be
in the guest, and once more in the supervisor, which tells everything else too.
"""

from __future__ import annotations

import pytest


class Integration:
    """
    Takes the plugin out of each guest.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        manager = item.config.pluginmanager
        plugin = manager.get_plugin("vscode_pytest")
        if plugin is not None:
            manager.unregister(plugin)
