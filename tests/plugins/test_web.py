"""
Databases, clients and live servers of pytest-django and pytest-flask.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

SETTINGS = """
    SECRET_KEY = "x"
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "app"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", DATABASE}}
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    ROOT_URLCONF = "urls"
    STATIC_URL = "static/"
"""

DATABASES = {
    "memory": '"NAME": ":memory:"',
    "file": '"NAME": "db", "TEST": {"NAME": "test_db"}',
}

URLS = """
    from app.models import Thing
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def count(request):
        return HttpResponse(f"{Thing.objects.count()} {settings.SECRET_KEY}")

    urlpatterns = [path("count/", count)]
"""

DJANGO = """
    import urllib.request
    import pytest
    from app.models import Thing
    from django.core import mail
    from django.test import LiveServerTestCase, TestCase

    def get(url):
        with urllib.request.urlopen(url + "/count/", timeout=10) as response:
            return response.read().decode()

    @pytest.fixture(scope="session")
    def kept(django_db_setup, django_db_blocker):
        with django_db_blocker.unblock():
            thing = Thing.objects.create(name="kept")
        yield thing
        with django_db_blocker.unblock():
            Thing.objects.all().delete()

    def test_denied():
        Thing.objects.count()

    def test_db(db):
        Thing.objects.create(name="a")
        assert Thing.objects.count() == 1

    @pytest.mark.django_db
    def test_rolled_back():
        assert Thing.objects.count() == 0

    def test_kept(kept, db):
        assert Thing.objects.get() == kept
        Thing.objects.create(name="gone")

    def test_number_of_queries(db, django_assert_num_queries):
        with django_assert_num_queries(2):
            Thing.objects.count()

    def test_settings(settings, mailoutbox):
        settings.DEFAULT_FROM_EMAIL = "a@b.c"
        mail.send_mail("subject", "text", None, ["d@e.f"])
        assert [one.from_email for one in mailoutbox] == ["a@b.c"]

    def test_box_is_empty(mailoutbox):
        assert mailoutbox == []

    def test_client(client, db):
        assert client.get("/count/").content == b"1 x"

    class TestDjango(TestCase):
        @classmethod
        def setUpTestData(cls):
            cls.thing = Thing.objects.create(name="class")

        def test_change(self):
            self.thing.name = "changed"
            self.thing.save()
            Thing.objects.create(name="more")
            assert Thing.objects.count() == 3

        def test_unchanged(self):
            assert Thing.objects.get(pk=self.thing.pk).name == "class"

        def test_fails(self):
            with self.assertNumQueries(3):
                Thing.objects.count()

    @pytest.mark.django_db(transaction=True)
    def test_transaction():
        Thing.objects.all().delete()
        Thing.objects.create(name="a")
        assert Thing.objects.count() == 1

    @pytest.mark.django_db(transaction=True, reset_sequences=True)
    def test_sequences():
        Thing.objects.all().delete()
        assert Thing.objects.create(name="a").name == "a"

    def test_live(live_server, settings):
        settings.SECRET_KEY = "changed"
        Thing.objects.all().delete()
        Thing.objects.create(name="live")
        assert get(live_server.url) == "1 changed"

    class TestLive(LiveServerTestCase):
        def test_live(self):
            Thing.objects.all().delete()
            Thing.objects.create(name="live")
            assert get(self.live_server_url) == "1 x"
"""


@pytest.mark.about("pytest-django")
@pytest.mark.parametrize(
    "database",
    # All tests use the same file.
    ["memory", pytest.param("file", marks=pytest.mark.one_job)],
)
def test_django(
    pytester: pytest.Pytester, with_plugins: WithPlugins, database: str
) -> None:
    """
    Database, settings, mail and live server belong to the test.
    """
    pytester.makepyfile(
        **{
            "settings": SETTINGS.replace("DATABASE}", DATABASES[database] + "}"),
            "urls": URLS,
            "app/__init__": "",
            "app/models": """
                from django.db import models

                class Thing(models.Model):
                    name = models.CharField(max_length=10)
            """,
            "test_it": DJANGO,
        }
    )
    run = with_plugins("django")("--ds=settings", "-rP")
    run.result.assert_outcomes(passed=12, failed=3)


FLASK = """
    import urllib.request
    import pytest
    from flask import Flask, jsonify, request, session, url_for

    @pytest.fixture(scope="session")
    def app():
        app = Flask("app")
        app.secret_key = "key"

        @app.route("/")
        def index():
            session["n"] = session.get("n", 0) + 1
            return jsonify(n=session["n"])

        return app

    def test_client(client):
        assert client.get(url_for("index")).json == {"n": 1}
        assert client.get("/").json == {"n": 2}

    def test_other_client(client, accept_json):
        assert client.get("/", headers=accept_json).json == {"n": 1}

    def test_fails(client):
        assert client.get("/nothing").json == {"n": 1}

    @pytest.mark.options(debug=True)
    def test_option(app):
        assert app.debug

    def test_option_is_off(app, config):
        assert not app.debug
        assert config["SECRET_KEY"] == "key"

    @pytest.mark.usefixtures("client_class")
    class TestClass:
        def test_client(self):
            assert self.client.get("/nothing").status_code == 404

    def test_live(live_server):
        with urllib.request.urlopen(live_server.url(), timeout=10) as response:
            assert b"1" in response.read()

    def test_live_again(live_server):
        with urllib.request.urlopen(live_server.url(), timeout=10) as response:
            assert response.status == 200
"""


@pytest.mark.about("pytest-flask")
@pytest.mark.parametrize("scope", ["session", "function"])
def test_flask(
    pytester: pytest.Pytester, with_plugins: WithPlugins, scope: str
) -> None:
    """
    Application, clients and live server, borrowed or owned, work inside.
    """
    pytester.makepyfile(FLASK)
    pytester.makeini(f"[pytest]\nlive_server_scope={scope}")
    run = with_plugins("flask")()
    run.result.assert_outcomes(passed=7, failed=1)
