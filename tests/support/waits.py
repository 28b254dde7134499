"""
A conftest.py that notes how long the supervisor waits for its guests.
"""

from __future__ import annotations

#: Adds a line to the file ``waits`` before each wait for a guest: the most that it may
#: take, in milliseconds, or None. To sleep is a wait too.
NOTES = """
import select
import sys
import time
from pathlib import Path

from pytest_nsisolate.linux import stdlib

WAITS = Path("waits").absolute()
WAITS.touch()

def note(milliseconds):
    with WAITS.open("a") as file:
        print(milliseconds, file=file)

class Poll:
    def __init__(self):
        self._poll = select.poll()
        self.register = self._poll.register
        self.unregister = self._poll.unregister

    def poll(self, milliseconds=None):
        if sys._getframe(1).f_code.co_name == "_hear_until_end":
            note(milliseconds)
        return self._poll.poll(milliseconds)

def sleep(seconds):
    note(seconds * 1000)
    time.sleep(seconds)

stdlib.select.poll = Poll
stdlib.time.sleep = sleep
"""

#: In a test: returns when the supervisor waits for the test without a time limit.
UNTIL_NO_LIMIT = """
def until_no_limit():
    import pathlib, time
    while "None" not in pathlib.Path("waits").read_text():
        time.sleep(0.01)
"""
