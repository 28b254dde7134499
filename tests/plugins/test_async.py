"""
Event loops of pytest-asyncio, anyio and pytest-trio in fixtures and tests.

The loop of a borrowed fixture belongs to the supervisor; each guest has a copy of it.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

#: Loops of every scope, borrowed and owned, in both modes.
LOOPS = """
    import asyncio
    import pytest
    import pytest_asyncio

    def made(scope):
        @FIXTURE(scope=scope, loop_scope=scope)
        async def fixture():
            task = asyncio.create_task(asyncio.sleep(1000))
            print("set up", scope)
            yield asyncio.get_running_loop()
            await asyncio.sleep(0.001)
            task.cancel()
            print("torn down", scope)
        return fixture

    in_function, in_class, in_module, in_package, in_session = map(
        made, ["function", "class", "module", "package", "session"]
    )
    MARK

    class TestClass:
        @pytest.mark.asyncio(loop_scope="function")
        async def test_function(self, in_function):
            await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is in_function

        @pytest.mark.asyncio(loop_scope="class")
        async def test_class(self, in_class, in_function):
            await asyncio.wait_for(asyncio.sleep(0.001), 5)
            assert asyncio.get_running_loop() is in_class is not in_function

        @pytest.mark.asyncio(loop_scope="class")
        async def test_class_again(self, in_class):
            assert asyncio.get_running_loop() is in_class

    @pytest.mark.asyncio(loop_scope="module")
    async def test_module(in_module):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))
        assert asyncio.get_running_loop() is in_module

    @pytest.mark.asyncio(loop_scope="package")
    async def test_package(in_package):
        assert asyncio.get_running_loop() is in_package

    @pytest.mark.asyncio(loop_scope="session")
    async def test_session(in_session, in_module):
        assert asyncio.get_running_loop() is in_session is not in_module

    @pytest.mark.asyncio(loop_scope="session")
    async def test_fails(in_session):
        asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert asyncio.get_running_loop() is None
"""


@pytest.mark.about("pytest-asyncio")
@pytest.mark.parametrize(
    ("mode", "fixture", "mark"),
    [
        ("strict", "pytest_asyncio.fixture", ""),
        (
            "auto",
            "pytest_asyncio.fixture",
            "async def test_auto(in_function): pass",
        ),
    ],
    ids=["strict", "auto"],
)
def test_asyncio_scopes(
    pytester: pytest.Pytester,
    with_plugins: WithPlugins,
    mode: str,
    fixture: str,
    mark: str,
) -> None:
    """
    Loops of every scope keep running inside, and their fixtures are finalised once.
    """
    source = LOOPS.replace("FIXTURE", fixture).replace("MARK", mark)
    pytester.makepyfile(**{"sub/__init__": "", "sub/test_it": source})
    pytester.makeini(
        f"[pytest]\nasyncio_mode={mode}\nasyncio_default_fixture_loop_scope=function"
    )
    run = with_plugins("asyncio")("-rP")
    run.result.assert_outcomes(passed=6 + bool(mark), failed=1, warnings=1)
    assert run.stdout.count("torn down session") == 1


#: What two copies of one loop could take from each other.
CONNECTIONS = """
    import asyncio
    import socket
    import pytest
    import pytest_asyncio

    pytestmark = pytest.mark.asyncio(loop_scope="session")

    async def upper(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def server():
        server = await asyncio.start_server(upper, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def pair():
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        yield reader, writer
        theirs.send(b"end\\n")
        print(await asyncio.wait_for(reader.readline(), 10))
        writer.close()
        theirs.close()

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def pool():
        yield await asyncio.to_thread(len, [1])
        print(await asyncio.wait_for(asyncio.to_thread(len, [1]), 10))

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def connection(server):
        reader, writer = await asyncio.open_connection(*server)
        yield reader, writer
        writer.close()

    async def test_server(server):
        reader, writer = await asyncio.open_connection("localhost", server[1])
        writer.write(b"hello\\n")
        assert await asyncio.wait_for(reader.readline(), 10) == b"HELLO\\n"
        writer.close()

    async def test_connection(connection):
        reader, writer = connection
        writer.write(b"hello\\n")
        assert await asyncio.wait_for(reader.readline(), 10) == b"HELLO\\n"

    async def test_read(pair):
        transport = pair[1].transport
        transport.pause_reading()
        transport.resume_reading()

    async def test_threads(pool):
        work = [asyncio.to_thread(len, [1]) for _ in range(3)]
        assert await asyncio.wait_for(asyncio.gather(*work), 10) == [1, 1, 1]

    async def test_process(pair):
        process = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)
        assert await process.communicate() == (b"x\\n", None)
        assert await process.wait() == 0
"""


@pytest.mark.about("pytest-asyncio")
def test_asyncio_connections(
    pytester: pytest.Pytester, with_plugins: WithPlugins
) -> None:
    """
    Servers, connections and threads of a borrowed loop work inside, then outside again.
    """
    pytester.makepyfile(CONNECTIONS)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope=session")
    run = with_plugins("asyncio")("-rP", "-W", "error")
    run.result.assert_outcomes(passed=5)
    assert "b'end\\n'" in run.stdout


ANYIO = """
    import anyio
    import pytest


    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="module", params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param

    @pytest.fixture(scope="module")
    async def wide(anyio_backend):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1000)
            print("set up", await anyio.to_thread.run_sync(len, []))
            yield anyio_backend
            await anyio.sleep(0.001)
            print("torn down", await anyio.to_thread.run_sync(len, []))
            group.cancel_scope.cancel()

    @pytest.fixture
    async def narrow(wide):
        await anyio.sleep(0.001)
        yield wide
        print("torn down inside")

    async def test_sleep(wide):
        with anyio.fail_after(10):
            await anyio.sleep(0.001)

    async def test_thread(wide, narrow):
        with anyio.fail_after(10):
            work = anyio.to_thread.run_sync
            assert await work(len, [1], abandon_on_cancel=True) == 1

    async def test_tasks(narrow):
        send, receive = anyio.create_memory_object_stream(1)
        async with anyio.create_task_group() as group, send, receive:
            group.start_soon(send.send, narrow)
            with anyio.fail_after(10):
                assert await receive.receive() == "trio"

    async def test_process():
        assert (await anyio.run_process(["echo", "x"])).stdout == b"x\\n"

    def test_plain(wide):
        pass
"""


@pytest.mark.about("anyio")
def test_anyio(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Fixtures and tests share a runner on both backends.
    """
    pytester.makepyfile(ANYIO)
    run = with_plugins("anyio")("-rP")
    run.result.assert_outcomes(passed=9, failed=1)
    assert run.stdout.count("torn down 0") == 2


TRIO = """
    import pytest
    import trio
    from trio.testing import open_stream_to_socket_listener

    async def upper(stream):
        async for data in stream:
            await stream.send_all(data.upper())

    @pytest.fixture
    async def connect(nursery):
        listeners = await nursery.start(trio.serve_tcp, upper, 0)
        yield lambda: open_stream_to_socket_listener(listeners[0])
        print("torn down")

    async def test_server(connect):
        async with await connect() as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"HELLO"

    async def test_clock(autojump_clock):
        await trio.sleep(1000)
        assert trio.current_time() >= 1000

    async def test_thread():
        assert await trio.to_thread.run_sync(len, [1]) == 1

    async def test_fails(connect):
        assert connect is None

    async def test_two_fail():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            raise KeyError("one")

    @pytest.fixture
    async def broken():
        yield
        raise ValueError("in teardown")

    async def test_teardown(broken):
        pass
"""


@pytest.mark.about("pytest-trio")
def test_trio(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Tests, fixtures and nurseries run in one loop, and failures look the same.
    """
    pytester.makepyfile(TRIO)
    pytester.makeini("[pytest]\ntrio_mode=true")
    run = with_plugins("trio")("-rP")
    run.result.assert_outcomes(passed=3, failed=3)
