"""
Reporting: the record of a test run, refusals, crashes, leaks, limits and usage.
"""
