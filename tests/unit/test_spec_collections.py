"""
Fresh directories and environment variables that a spec accepts and refuses.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsisolate.model.errors import SpecError
from pytest_nsisolate.model.spec import Spec


def test_one_key() -> None:
    """
    Equal values make equal specs, however they are written.
    """
    specs = {
        Spec(tmpfs=["/run", Path("/mnt"), "//run/./"], env={"B": None, "A": "1"}),
        Spec(tmpfs=("/run", "/mnt"), env=(("A", "1"), ("B", None))),
    }
    assert len(specs) == 1
    (spec,) = specs
    assert spec.tmpfs == ("/run", "/mnt")
    assert spec.env == (("A", "1"), ("B", None))
    assert Spec(tmpfs=[], env={}) == Spec()


@pytest.mark.parametrize(
    ("tmpfs", "why"),
    [
        ("/run", "tmpfs='/run' is of type str, not list or tuple"),
        ({"/run"}, "tmpfs={'/run'} is of type set, not list or tuple"),
        ([5], "5 in tmpfs= is of type int, not str or Path"),
        ([b"/run"], "b'/run' in tmpfs= is of type bytes, not str or Path"),
        ([""], "'' in tmpfs= is empty"),
        (["run"], "'run' in tmpfs= is not an absolute path"),
        (["/a/../b"], "'/a/../b' in tmpfs= contains \"..\""),
        (["/a\0"], "'/a\\x00' in tmpfs= contains a NUL byte"),
        (
            ["/\ud800"],
            "'/\\ud800' in tmpfs= cannot be written in the file system's encoding",
        ),
        *(
            (
                [path],
                (
                    f"{path!r} in tmpfs= overlaps {own}, which every sandbox has of "
                    "its own"
                ),
            )
            for path, own in [
                ("/", "/proc"),
                ("//", "/proc"),
                ("/proc/sys", "/proc"),
                ("/dev", "/dev/shm"),
                ("/dev/shm", "/dev/shm"),
                ("/dev/mqueue/", "/dev/mqueue"),
            ]
        ),
    ],
)
def test_directories_that_cannot_be(tmpfs: list[str], why: str) -> None:
    """
    A bad list of paths is refused, and so is a path that every sandbox mounts itself.
    """
    with pytest.raises(SpecError) as caught:
        Spec(tmpfs=tmpfs)
    assert caught.value.why == why


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("overlay", "/run", "overlay='/run' is of type str, not list or tuple"),
        ("overlay", 1, "overlay=1 is of type int, not list or tuple"),
        ("overlay", ["a/../b"], "'a/../b' in overlay= contains \"..\""),
        (
            "overlay",
            ["/proc"],
            "'/proc' in overlay= overlaps /proc, which every sandbox has of its own",
        ),
        ("readonly", True, "readonly=True is of type bool, not list or tuple"),
        ("readonly", [""], "'' in readonly= is empty"),
        ("overlay_size", 0, "overlay_size=0 is not greater than 0"),
        (
            "overlay_size",
            "64",
            "overlay_size='64' is not a number followed by K, M or G",
        ),
    ],
)
def test_layers_that_cannot_be(keyword: str, value: object, why: str) -> None:
    """
    What an overlay or a read-only directory cannot be is refused.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{keyword: value})  # type: ignore[arg-type]
    assert caught.value.why == why


def test_where_relative_paths_begin() -> None:
    """
    They begin at the rootdir, and an empty list overrides an option.
    """
    spec = Spec(overlay=[".", "a/./b", "/etc", "/"], readonly=[Path("c")])
    assert (spec.overlay, spec.readonly) == ((".", "a/b", "/etc", "/"), ("c",))
    found = spec.below("/srv")
    assert found.overlay == ("/srv", "/srv/a/b", "/etc", "/")
    assert found.readonly == ("/srv/c",)
    assert found.below("/other") is found
    assert Spec(overlay=[]).overlay == Spec(overlay=False).overlay == ()
    assert Spec(overlay=[]).below("/srv") == Spec()
    assert Spec(overlay=True).below("/srv").overlay is True


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (["A"], "env=['A'] is of type list, not dict"),
        (("A",), "env=('A',) is of type tuple, not dict"),
        ({5: "a"}, "the name 5 in env= is of type int, not str"),
        ({"": "a"}, "the name '' in env= is empty"),
        ({"A=": "a"}, "the name 'A=' in env= contains \"=\""),
        ({"A\0": "a"}, "the name 'A\\x00' in env= contains a NUL byte"),
        ({"A": "a\0"}, "A='a\\x00' in env= contains a NUL byte"),
        ({"A": 1}, "A=1 in env= is of type int, not str or None"),
        (
            {"A": "\ud800"},
            "A='\\ud800' in env= cannot be written in the file system's encoding",
        ),
    ],
)
def test_variables_that_cannot_be(env: dict[str, str | None], why: str) -> None:
    """
    A name or value that setenv(3) would not take is refused.
    """
    with pytest.raises(SpecError) as caught:
        Spec(env=env)
    assert caught.value.why == why


@pytest.mark.parametrize("value", [0, 1, "yes", [], None])
def test_clear_env(value: bool | None) -> None:
    """
    ``clear_env=`` accepts nothing but None, True and False.
    """
    if value is None:
        assert Spec(clear_env=value).clear_env is None
        return
    with pytest.raises(SpecError) as caught:
        Spec(clear_env=value)
    assert caught.value.why == f"clear_env={value!r} is not True, False or None"
    assert caught.value.fix == "write clear_env=True, or leave clear_env= out"
