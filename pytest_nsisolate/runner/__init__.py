"""
The runner: the way of one isolated test, on both sides of the fork.
"""
