"""
SysV message queues, semaphores and shared memory, found by their keys.
"""

import ctypes
import os

IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, SETVAL = 0, 16
LONGEST = 1024

libc = ctypes.CDLL(None, use_errno=True)
libc.msgsnd.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.msgrcv.restype = ctypes.c_ssize_t
libc.msgrcv.argtypes = [
    *(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_long, ctypes.c_int),
]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]


class _Message(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_long), ("text", ctypes.c_ubyte * LONGEST))


class _Operation(ctypes.Structure):
    _fields_ = (
        ("number", ctypes.c_ushort),
        ("change", ctypes.c_short),
        ("flags", ctypes.c_short),
    )


def _check(result: int) -> int:
    """
    Return *result*, or raise OSError if it is -1.
    """
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _flags(create: bool) -> int:
    """
    Return the flags that create an object, or those that open one.
    """
    return IPC_CREAT | IPC_EXCL | 0o600 if create else 0


class Queue:
    """
    A message queue.
    """

    def __init__(self, key: int, *, create: bool = False) -> None:
        self._id = _check(libc.msgget(key, _flags(create)))

    def send(self, text: bytes, kind: int = 1) -> None:
        """
        Add a message, or raise BlockingIOError if the queue is full.
        """
        message = _Message(kind, (ctypes.c_ubyte * LONGEST)(*text))
        _check(libc.msgsnd(self._id, ctypes.byref(message), len(text), IPC_NOWAIT))

    def receive(self, kind: int = 0) -> bytes:
        """
        Wait for a message of this kind, or of any if it is 0, and take it.
        """
        message = _Message()
        size = _check(libc.msgrcv(self._id, ctypes.byref(message), LONGEST, kind, 0))
        return bytes(message.text[:size])

    def remove(self) -> None:
        """
        Remove the queue.
        """
        _check(libc.msgctl(self._id, IPC_RMID, None))


class Semaphore:
    """
    A set of one semaphore.
    """

    def __init__(self, key: int, *, create: bool = False, value: int = 1) -> None:
        self._id = _check(libc.semget(key, 1, _flags(create)))
        if create:
            _check(libc.semctl(self._id, 0, SETVAL, value))

    def acquire(self) -> None:
        """
        Take one, or raise BlockingIOError if there is none.
        """
        operation = _Operation(0, -1, IPC_NOWAIT)
        _check(libc.semop(self._id, ctypes.byref(operation), 1))

    def release(self) -> None:
        """
        Give one back.
        """
        operation = _Operation(0, 1, 0)
        _check(libc.semop(self._id, ctypes.byref(operation), 1))

    def remove(self) -> None:
        """
        Remove the semaphore.
        """
        _check(libc.semctl(self._id, 0, IPC_RMID))


class Segment:
    """
    A segment of shared memory, attached.
    """

    def __init__(self, key: int, size: int, *, create: bool = False) -> None:
        self._id = _check(libc.shmget(key, size, _flags(create)))
        self._address = libc.shmat(self._id, None, 0)
        self.memory = (ctypes.c_char * size).from_address(self._address)

    def remove(self) -> None:
        """
        Detach the segment, and remove it.
        """
        _check(libc.shmdt(self._address))
        _check(libc.shmctl(self._id, IPC_RMID, None))
