"""
The only package that uses private parts of pytest, and of pytest-xdist.
"""
