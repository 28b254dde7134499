"""
Tests of camera, whose name is taken on a machine where the real program runs.
"""

import multiprocessing
from collections.abc import Iterator

import pytest
from camera import Camera, look

pytestmark = pytest.mark.isolated


@pytest.fixture
def camera() -> Iterator[Camera]:
    """
    Return a camera.
    """
    camera = Camera()
    yield camera
    camera.close()


def test_another_process_sees_the_picture(camera: Camera) -> None:
    """
    The picture is the same in a process that opens it by its name.
    """
    camera.show(b"a cat")

    with multiprocessing.Pool(1) as pool:
        assert pool.apply(look) == b"a cat"


def test_picture_is_replaced(camera: Camera) -> None:
    """
    Nothing of a longer picture is left in a shorter one.
    """
    camera.show(b"a cat and a dog")
    camera.show(b"a cat")

    assert look() == b"a cat"


def test_second_camera_is_refused(camera: Camera) -> None:
    """
    Two cameras cannot have the same name.
    """
    with pytest.raises(FileExistsError):
        Camera()


def test_no_camera() -> None:
    """
    There is nothing to see before a camera has been made.
    """
    with pytest.raises(FileNotFoundError):
        look()
