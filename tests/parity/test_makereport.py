"""
What `pytest_runtest_makereport` keeps in memory, with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once

KEEPING = """
    import collections
    import dataclasses
    import enum
    import io
    import pathlib
    import pytest

    class Colour(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Result:
        outcomes: list
        more: object = None

    class Keys:
        inner = pytest.StashKey()

    key = pytest.StashKey()
    reports = {}
    seen = []
    counted = collections.Counter()
    by_kind = collections.defaultdict(list)
    kinds = set()
    latest = None
    results = {"before": Result(["x"])}
    results["same"] = results["before"]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        global latest
        report = yield
        latest = item.name, call.when
        reports[item.name, call.when] = report
        seen.append(report.outcome)
        counted[report.outcome] += 1
        by_kind[call.when].append(item.name)
        print(item.name, call.when, file=text)
        kinds.add((call.when, report.outcome))
        results["before"].outcomes.append(call.when)
        results.setdefault(item.name, Result([])).outcomes += [Colour.RED, b"\\xff"]
        item.stash.setdefault(key, {})[call.when] = report
        item.session.stash.setdefault(Keys.inner, []).append(item)
        item.parent.tally = getattr(item.parent, "tally", 0) + 1
        item.config.notes = getattr(item.config, "notes", ()) + (1j, {1: {2}})
        if call.excinfo is not None:
            item.parent._previousfailed = item
            item.error = call.excinfo
            results[item.name].more = call.excinfo.value
        if item.name == "test_one" and call.when == "call":
            del results["gone"]
        return report

    results["gone"] = None
    text = io.StringIO()
    at_log = []

    def pytest_runtest_logreport(report):
        at_log.append(reports[report.nodeid.split("::")[-1], report.when] is report)

    def pytest_terminal_summary(terminalreporter, config):
        line = terminalreporter.line
        session = terminalreporter._session
        line(str(latest))
        line(repr(text.getvalue()))
        line(str({name: one.outcome for name, one in reports.items()}))
        line(str((seen, counted, by_kind, sorted(kinds), config.notes, at_log)))
        line(str({name: repr(one) for name, one in results.items()}))
        line(str(results["same"] is results["before"]))
        line(str([item.name for item in session.stash[Keys.inner]]))
        for item in session.items:
            found = item.stash[key]
            line(f"{item.name} {sorted(found)} {item.parent.tally}")
            line(str([one is reports[item.name, when] for when, one in found.items()]))
            line(str(getattr(item.parent, "_previousfailed", None)))
            if hasattr(item, "error"):
                line(item.error.exconly())
                line(str(item.error.traceback[-1].lineno))
"""

TESTS = """
    import pytest

    @pytest.fixture(scope="module")
    def wide(): yield

    @pytest.fixture
    def bad(): raise KeyError("a")

    def test_one(wide): pass
    def test_two(): assert 0
    def test_three(bad): pass
    class TestIt:
        def test_four(self, wide): pass
        def test_five(self): pytest.skip("so")
"""


@pytest.mark.parametrize("scope", ["function", "class", "module"])
def test_memory_of_a_hook(pytester: pytest.Pytester, twins: Twins, scope: str) -> None:
    """
    What the hook keeps, wherever it does, is as in a plain run.
    """
    pytester.makeconftest(KEEPING)
    pytester.makepyfile(TESTS)
    run = twins(f"--nsisolate-scope={scope}", "--tb=no")
    assert "('test_five', 'teardown')" in run.stdout


INCREMENTAL = """
    import pytest

    # store history of failures per test class name and per index in parametrize
    _test_failed_incremental: dict[str, dict[tuple[int, ...], str]] = {}

    def pytest_runtest_makereport(item, call):
        if "incremental" in item.keywords:
            if call.excinfo is not None:
                cls_name = str(item.cls)
                parametrize_index = (
                    tuple(item.callspec.indices.values())
                    if hasattr(item, "callspec")
                    else ()
                )
                test_name = item.originalname or item.name
                _test_failed_incremental.setdefault(cls_name, {}).setdefault(
                    parametrize_index, test_name
                )

    def pytest_runtest_setup(item):
        if "incremental" in item.keywords:
            cls_name = str(item.cls)
            if cls_name in _test_failed_incremental:
                parametrize_index = (
                    tuple(item.callspec.indices.values())
                    if hasattr(item, "callspec")
                    else ()
                )
                test_name = _test_failed_incremental[cls_name].get(
                    parametrize_index, None
                )
                if test_name is not None:
                    pytest.xfail(f"previous test failed ({test_name})")
"""

OF_THE_PARENT = """
    import pytest

    def pytest_runtest_makereport(item, call):
        if "incremental" in item.keywords:
            if call.excinfo is not None:
                parent = item.parent
                parent._previousfailed = item

    def pytest_runtest_setup(item):
        if "incremental" in item.keywords:
            previousfailed = getattr(item.parent, "_previousfailed", None)
            if previousfailed is not None:
                pytest.xfail(f"previous test failed ({previousfailed.name})")
"""


@pytest.mark.parametrize("recipe", [INCREMENTAL, OF_THE_PARENT])
def test_incremental(pytester: pytest.Pytester, twins: Twins, recipe: str) -> None:
    """
    The two recipes for incremental tests of pytest's documentation work.
    """
    pytester.makeconftest(recipe)
    pytester.makeini("[pytest]\nmarkers = incremental")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.incremental
        class TestUserHandling:
            def test_login(self): pass
            def test_modification(self): assert 0
            def test_deletion(self): pass

        def test_normal(): pass

        @pytest.mark.incremental
        @pytest.mark.parametrize("number", [1, 2])
        class TestNumbers:
            def test_first(self, number): assert number == 2
            def test_second(self, number): pass
        """
    )
    run = twins("-rA")
    assert "previous test failed (test_modification)" in run.stdout


OBJECTS = """
    import collections
    import dataclasses
    import datetime
    import decimal
    import types
    import helpers
    from helpers import Store, store

    @dataclasses.dataclass(slots=True)
    class Slotted:
        names: list
        last: object = None

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        name: str

    class Attributes(dict):
        __getattr__ = dict.__getitem__
        __setattr__ = dict.__setitem__

    class Named(collections.OrderedDict):
        def __init__(self, name):
            self.name = name

        def items(self): raise RuntimeError
        __iter__ = copy = __len__ = items

    class Single:
        _one = None

        def __new__(cls):
            cls._one = cls._one or super().__new__(cls)
            return cls._one

    class Shared:
        total = 0
        names = []

    def counter():
        seen, number = [], 0

        def count(name):
            nonlocal number
            number += 1
            seen.append(name)
            count.last = name
            return seen, number

        return count

    Row = collections.namedtuple("Row", "name passed")
    Single().rows = []
    count = counter()
    named = Named("so")
    slotted, frozen, rows = Slotted([]), set(), []
    attributes, space = Attributes(total=0), types.SimpleNamespace(number=0)
    ordered = collections.OrderedDict(a=1, b=2)
    last, by_class = {}, {}
    times = []
    error_type = None

    def pytest_runtest_makereport(item, call):
        global error_type
        if call.when != "call":
            return
        if item.cls is not None:
            item.cls.result = (*getattr(item.cls, "result", ()), item.name)
        item.module.results = [*getattr(item.module, "results", []), item.name]
        item.module.table.append(item.name)
        slotted.names.append(item.name)
        slotted.last = Slotted([item.name])
        frozen.add(Frozen(item.name))
        rows.append(Row(item.name, passed=call.excinfo is None))
        attributes.total += 1
        attributes[item.name] = Attributes(one=1)
        Single().rows.append(item.name)
        Shared.total += 1
        Shared.names.append(item.name)
        space.number += 1
        count(item.name)
        named[item.name] = named.name
        ordered.move_to_end("a")
        ordered[item.name] = 1
        store.add(item.name)
        helpers.names.append(Store())
        by_class[item.cls] = item.module
        last["call"] = call
        if call.excinfo is not None:
            error_type = last["type"] = call.excinfo.type
        times.append((datetime.timedelta(1, 2, 3), decimal.Decimal("1.50")))

    def pytest_terminal_summary(terminalreporter):
        line = terminalreporter.line
        for one in (slotted, sorted(frozen, key=str), rows, attributes, Single().rows):
            line(repr(one))
        line(repr([*collections.OrderedDict.items(named)]))
        line(repr((Shared.total, Shared.names, space, ordered, error_type)))
        line(repr((store.names, len(helpers.names), type(helpers.names[0]).__name__)))
        line(repr([(one, two.__name__) for one, two in by_class.items()]))
        line(repr((last["call"].when, last["call"].excinfo.exconly(), last["type"])))
        line(repr((times, count.last, count("end"), type(attributes.test_one))))
        for item in terminalreporter._session.items:
            result = getattr(item.cls, "result", None)
            line(repr((item.name, result, item.module.results, item.module.table)))
"""

OBJECT_TESTS = """
    table = []

    def test_one(): pass
    def test_two(): assert 0
    class TestIt:
        def test_three(self): pass
        def test_four(self): raise KeyError("a")
"""


@pytest.mark.parametrize("scope", ["function", "class", "module"])
def test_objects_of_a_hook(pytester: pytest.Pytester, twins: Twins, scope: str) -> None:
    """
    Objects, classes, functions and modules of a hook keep what they do in a plain run.
    """
    pytester.makeconftest(OBJECTS)
    pytester.makepyfile(
        OBJECT_TESTS,
        helpers="""
        names = []

        class Store:
            def __init__(self): self.names = []
            def add(self, name): self.names.append(name)

        store = Store()
        """,
    )
    # A module of the same name may be there from the other run.
    run = twins(f"--nsisolate-scope={scope}", "--tb=no", apart=True)
    assert "HookWarning" not in run.stdout
    assert "'test_four', ('test_three', 'test_four')" in run.stdout


def test_classes_that_are_only_inside(pytester: pytest.Pytester) -> None:
    """
    If a hook keeps a class that does not exist outside, a warning says so.
    """
    pytester.makeconftest(
        """
        kinds = []

        def pytest_runtest_makereport(item, call):
            if call.excinfo is not None:
                kinds.append(call.excinfo.type)

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.line(str([kind.__name__ for kind in kinds]))
        """
    )
    pytester.makepyfile(
        """
        def test_known(): assert 0
        def test_local():
            class Local(Exception): pass
            raise Local("of the function")
        def test_late():
            import wsgiref.validate
            raise wsgiref.validate.WSGIWarning("imported in the test")
        """
    )
    run = run_once(pytester, ["--nsisolate", "--tb=no"], apart=True)
    run.result.assert_outcomes(failed=3, warnings=2)
    run.result.stdout.fnmatch_lines(
        [
            "*HookWarning: conftest.kinds is lost, *",
            "*why: test_local ran * no test_*.test_local.<locals>.Local comes back",
            "*why: test_late ran * no wsgiref.validate.WSGIWarning comes back",
            "['AssertionError']",
            "FAILED *::test_local - test_classes_*",
            "FAILED *::test_late - wsgiref.*",
        ]
    )


def test_what_is_odd(pytester: pytest.Pytester) -> None:
    """
    What cannot be looked at, compared, replaced or made again harms no test.
    """
    pytester.makeconftest(
        """
        import queue
        import weakref
        import pytest

        class Touchy:
            __slots__ = ("x",)
            __hash__ = object.__hash__

            def __getattribute__(self, name): raise RuntimeError(name)
            def __eq__(self, other): raise RuntimeError
            def __len__(self): raise RuntimeError

        class Lazy:
            @property
            def __class__(self): raise RuntimeError("not configured")
            @property
            def __dict__(self): raise RuntimeError("not configured")

        class Equal:
            def __init__(self, number): self.number = number
            def __hash__(self): return 1
            def __eq__(self, other): raise RuntimeError

        class Key:
            def __init__(self, name):
                self.name = name
                self.all = {self}
            def __hash__(self): return hash(self.name)

        def handler(): pass

        lazy = Lazy()
        odd = [Touchy(), lazy]
        equal, keys, cycles = {Equal(0): 1}, [], []
        handlers = {"a": handler}
        weak, waiting = weakref.WeakValueDictionary(), queue.SimpleQueue()
        jobs = queue.Queue()
        key = pytest.StashKey()

        def pytest_runtest_makereport(item, call):
            if call.when != "call":
                return
            odd.append(item.name)
            equal.clear()
            equal[Equal(item.name)] = 1
            keys.append(Key(item.name))
            cycle = ([],)
            cycle[0].append(cycle)
            cycles.append(cycle)
            handlers["a"] = item.name
            item.name_of = item.runtest
            item.repr_failure = 1
            weak[item.name] = item
            jobs.put(item.name)
            item.config.stash[key] = item.name

        def pytest_terminal_summary(terminalreporter):
            stash = terminalreporter.config.stash
            words = odd[2:], handlers["a"].__name__, stash.get(key, None)
            terminalreporter.line(str(words))
        """
    )
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass\n")
    run = run_once(pytester, ["--nsisolate", "-W", "error"], apart=True)
    run.result.assert_outcomes(passed=2, warnings=9)
    expected = (["test_one", "test_two"], "handler", "test_two")
    assert f"\n{expected}\n" in run.stdout
    for lost in (
        "conftest.equal is lost",
        "conftest.keys is lost",
        "conftest.cycles is lost",
        "conftest.handlers[...] is lost",
        "conftest.weak.data is lost",
        "conftest.jobs.queue is lost",
        "Function.name_of is lost",
        "Function.repr_failure is lost",
    ):
        assert run.stdout.count(lost) == 1, lost


def test_what_belongs_to_the_test(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A kept parameter, mark, or class of the test's module is the one outside.
    """
    pytester.makeconftest(
        """
        kept = []

        def pytest_runtest_makereport(item, call):
            params = getattr(item, "callspec", None) and item.callspec.params
            kept.append((item, params, [*item.iter_markers()], item.module.Thing))

        def pytest_terminal_summary(terminalreporter):
            for item, params, marks, thing in kept:
                same = params is None or params is item.callspec.params
                pairs = zip(marks, item.iter_markers())
                same = same, [one is other for one, other in pairs]
                terminalreporter.line(
                    f"{item.name} {params} {same} {marks} {thing is item.module.Thing}"
                )
        """
    )
    pytester.makepyfile(
        """
        import pytest

        class Thing:
            pass

        @pytest.mark.parametrize("one", [1, Thing, Thing(), {"a": [1]}])
        def test_each(one): pass

        @pytest.mark.xfail(reason="so")
        class TestIt:
            @pytest.mark.filterwarnings("ignore")
            def test_marked(self): assert 0
        """
    )
    twins("--tb=no")
    twins("--tb=no", "--nsisolate-scope=module")


def test_part_of_what_is_lost(pytester: pytest.Pytester) -> None:
    """
    What is kept also elsewhere comes back, though it is part of something lost.
    """
    pytester.makeconftest(
        """
        import threading

        first, second, third = {}, {}, {}

        def pytest_runtest_makereport(item, call):
            rows = [call.when]
            whole = {"rows": rows, "lock": threading.Lock()}
            first[call.when] = whole
            second[call.when] = whole
            third[call.when] = rows

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.line(f"kept: {first} {second} {third}")
        """
    )
    pytester.makepyfile("def test_one(): pass\n")
    run = run_once(pytester, ["--nsisolate"])
    run.result.assert_outcomes(passed=1, warnings=2)
    rows = {when: [when] for when in ("setup", "call", "teardown")}
    assert f"kept: {{}} {{}} {rows}\n" in run.stdout


@pytest.mark.parametrize("number", [1, 3])
def test_filters_of_the_warning(pytester: pytest.Pytester, number: int) -> None:
    """
    The warning of what is lost can be ignored, and is never an error.
    """
    pytester.makeconftest(
        """
        locks = []

        def pytest_runtest_makereport(item):
            import threading

            locks.append(threading.Lock())
        """
    )
    pytester.makeini(
        "[pytest]\nfilterwarnings =\n  error\n"
        + (number == 1) * "  ignore::pytest_nsisolate.HookWarning\n"
    )
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass\n")
    run = run_once(pytester, ["--nsisolate"])
    run.result.assert_outcomes(passed=2, warnings=number // 2)


def test_what_cannot_come_back(pytester: pytest.Pytester) -> None:
    """
    What cannot come back is named once in a session, with its type and the reason.
    """
    pytester.makeconftest(
        """
        import threading

        locks = {}
        strange = threading.Event()
        class Made:
            def __new__(cls): return super().__new__(cls)

        def pytest_runtest_makereport(item, call):
            if call.when == "call":
                locks["last"] = threading.Lock()
                item.parent.made = Made()
                item.config.kept = 1
                strange.name = item.name
        """
    )
    pytester.makepyfile(
        """
        def test_one(): pass
        def test_two(): pass
        """
    )
    run = run_once(pytester, ["--nsisolate", "-W", "error"])
    run.result.assert_outcomes(passed=2, warnings=3)
    run.result.stdout.fnmatch_lines(
        [
            "*HookWarning: Module.made is lost, which * of conftest.py has kept",
            "*why: test_one ran in a process of its own, *conftest.Made comes back",
            "*fix: keep values of builtin types there, or bring it back with *()",
            "*HookWarning: conftest.locks[[]...] is lost, *",
            "*why: test_one ran in a process of its own, *no _thread.lock comes back",
        ]
    )


def test_hook_outside(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    The hook is called once for each phase, also for a test that borrows.
    """
    pytester.makeconftest(
        """
        told = []

        def pytest_runtest_makereport(item, call):
            told.append((item.name, call.when, call.excinfo is None))

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.line(str(told))
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide(): yield

        @pytest.fixture(scope="session")
        def session(): yield

        @pytest.fixture(scope="module")
        def broken(): assert 0

        def test_one(session): pass
        def test_two(broken): pass
        def test_three(wide): pass
        """
    )
    twins()


def test_wrapper_that_decides(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A wrapper around the protocol sees how its test went, wherever it looks.
    """
    pytester.makeconftest(
        """
        import sys
        import traceback
        import pytest

        class Plugin:
            def __init__(self):
                self.outcomes = {}
                self.told = []

            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(self, item, call):
                outcome = yield
                report = outcome.get_result()
                if not report.passed or hasattr(report, "wasxfail"):
                    self.outcomes[item.nodeid] = report, call.excinfo

            @pytest.hookimpl(hookwrapper=True, tryfirst=True)
            def pytest_runtest_protocol(self, item):
                before = item.session.testsfailed
                yield
                report, excinfo = self.outcomes.pop(item.nodeid, (None, None))
                last = getattr(sys, "last_value", None)
                self.told.append((
                    item.name,
                    report and report.outcome,
                    excinfo and excinfo.exconly(),
                    item.session.testsfailed - before,
                    repr(last),
                    last is getattr(sys, "last_exc", last),
                    getattr(sys, "last_type", None),
                    last and [
                        frame.name
                        for frame in traceback.extract_tb(sys.last_traceback)
                    ][-1],
                ))

            def pytest_terminal_summary(self, terminalreporter):
                for one in self.told:
                    terminalreporter.line(str(one))

        def pytest_configure(config):
            config.pluginmanager.register(Plugin())
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def bad(): raise KeyError("a")

        def test_fails(): assert 1 == 2
        def test_passes(): pass
        def test_raises(): raise OSError(2, "gone", "file")
        def test_skips(): pytest.skip("so")
        def test_bad(bad): pass
        """
    )
    run = twins("--tb=no")
    assert "('test_bad', 'failed', \"KeyError: 'a'\", 1, " in run.stdout
