"""
Values that know nothing of processes or of pytest.
"""
