"""
The runner: takes an isolated test from marker to report, on both sides of the fork.
"""
