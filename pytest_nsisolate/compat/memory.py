"""
Where hooks keep what they want to remember: nodes, stashes, the configuration.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

#: Attributes of nodes that pytest itself keeps, in all versions.
_OF_NODES = {
    *("_args", "_collected", "_collection_cache", "_explicit_tearDown", "_fixtureinfo"),
    *("_fixturemanager", "_id", "_initialpaths", "_instance", "_keywords", "_nodeid"),
    *("_notfound", "_obj", "_report_sections", "_request", "_setupstate", "_stash"),
    *("_initial_parts", "_pkg_roots", "_bestrelpathcache", "callspec", "config"),
    *("extra_keyword_matches", "fixturenames", "fixture_names", "funcargs", "items"),
    *("fspath", "keywords", "listchain", "location", "name", "originalname"),
    *("own_markers", "parent", "path", "session", "setup", "shouldfail", "shouldstop"),
    *("startdir", "startpath", "stash", "_store", "teardown", "testscollected"),
    *("testsfailed", "trace", "user_properties", "_testcase", "_excinfo", "dtest"),
    *("_arg2fixturedefs", "_excinfo", "exitstatus", "obj", "runner", "_shouldstop"),
    *("_shouldfail", "_initial_paths", "_explicit_tear_down"),
}

#: Attributes of the configuration that pytest itself keeps, in all versions.
_OF_CONFIG = {
    *("_assertstate", "_cleanup", "_cleanup_stack", "_configured", "_inicache"),
    *("_inicfg", "_opt2dest", "_override_ini", "_parser", "_rootpath", "_store"),
    *("_tmp_path_factory", "_tmpdirhandler", "_warn_deprecated", "args", "args_source"),
    *("cache", "catalog", "hook", "inicfg", "inipath", "invocation_params", "issue"),
    *("known_args_namespace", "option", "pluginmanager", "stash", "trace"),
    *("_known_args_namespace", "_inipath", "_checkversion", "_option_verbosity"),
}


def stash_of(owner: pytest.Config | pytest.Item | pytest.Collector) -> dict[Any, Any]:
    """
    Return what the stash of *owner* holds, by key.
    """
    # Since 7.0. Public would be: iterating over a stash.
    return owner.stash._storage


def own_attributes(owner: pytest.Config | pytest.Item | pytest.Collector) -> set[str]:
    """
    Return the names of those attributes of *owner* that pytest itself keeps.
    """
    return _OF_CONFIG if isinstance(owner, pytest.Config) else _OF_NODES


def object_of(node: object) -> object:
    """
    Return the module or class that *node* collects, or None.
    """
    # Since 2.0. Public is `obj`, which may import or make what is not there yet.
    if isinstance(node, pytest.Module | pytest.Class):
        return vars(node).get("_obj")
    return None


def own_keys() -> set[int]:
    """
    Return the ids of the keys under which pytest itself keeps things in stashes.
    """
    return {
        id(value)
        for name, module in [*sys.modules.items()]
        if name.startswith("_pytest.")
        for value in vars(module).values()
        if isinstance(value, pytest.StashKey)
    }
