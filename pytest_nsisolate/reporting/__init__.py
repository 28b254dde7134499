"""
Reports: the record of a test run, crashes, leaks, limits and usage.
"""
