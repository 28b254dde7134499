"""
Reporting: the record of a test run, and reports of crashes, leaks, limits and usage.
"""
