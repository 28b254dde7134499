"""
The suffix of a file name, found by the C library.
"""

import ctypes

libc = ctypes.CDLL(None)
libc.strrchr.restype = ctypes.c_void_p
libc.strrchr.argtypes = [ctypes.c_char_p, ctypes.c_int]


def suffix_of(name: bytes) -> bytes:
    """
    Return the last dot of *name* and all that follows.
    """
    # A fault: strrchr() returns NULL if there is no dot.
    return ctypes.string_at(libc.strrchr(name, ord(".")))
