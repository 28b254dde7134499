"""
The only package that uses private parts of pytest.
"""
