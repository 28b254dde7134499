"""
Tests of settings, each on a host with the name that it is about.
"""

import pytest
from settings import Settings, load


@pytest.mark.isolated(hostname="db-1")
def test_first_database_is_the_primary() -> None:
    """
    The first database has the role of the primary.
    """
    assert load() == Settings("db", 5432, is_primary=True)


@pytest.mark.isolated(hostname="db-2")
def test_second_database_is_a_replica() -> None:
    """
    Any other database is a replica.
    """
    assert load() == Settings("db", 5432)


@pytest.mark.isolated(hostname="web-1")
def test_web_server() -> None:
    """
    A web server listens on the port of the web.
    """
    assert load() == Settings("web", 80)


@pytest.mark.isolated(hostname="laptop")
def test_unknown_host_is_for_development() -> None:
    """
    The host of a developer is told to debug.
    """
    assert load() == Settings("development", 8000, debug=True)
