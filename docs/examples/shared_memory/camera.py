"""
The latest picture of a camera, in shared memory, where other processes look at it.
"""

from multiprocessing.shared_memory import SharedMemory

NAME = "camera-0"
SIZE = 64


class Camera:
    """
    The side that shows pictures. There can be only one on a machine.
    """

    def __init__(self) -> None:
        self._memory = SharedMemory(NAME, create=True, size=SIZE)

    def show(self, picture: bytes) -> None:
        """
        Replace the picture.
        """
        assert self._memory.buf is not None
        self._memory.buf[:SIZE] = picture.ljust(SIZE, b"\0")

    def close(self) -> None:
        """
        End the show.
        """
        self._memory.close()
        self._memory.unlink()


def look() -> bytes:
    """
    Return the picture that the camera shows, or raise FileNotFoundError.
    """
    memory = SharedMemory(NAME)
    try:
        assert memory.buf is not None
        return bytes(memory.buf[:SIZE]).rstrip(b"\0")
    finally:
        memory.close()
