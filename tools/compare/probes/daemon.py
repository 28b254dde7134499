"""
Does a process that a test leaves live on beside the next test?
"""

import fcntl
import os
import signal


def test_1_changes() -> None:
    """
    Start a daemon, which closes what it inherits and holds a lock until it ends.
    """
    ready, begun = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        with open("left.lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(begun, b"x")
            os.closerange(0, file.fileno())
            os.closerange(file.fileno() + 1, 1024)
            while True:
                signal.pause()
    os.wait()
    assert os.read(ready, 1)


def test_2_looks() -> None:
    """
    Look whether it still holds the lock; the kernel may take a moment to end it.
    """

    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(3)
    try:
        with open("left.lock", "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        shared = False
    except TimeoutError:
        shared = True
    finally:
        signal.alarm(0)

    assert not shared, "SHARED"
