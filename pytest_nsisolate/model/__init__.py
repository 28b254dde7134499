"""
Values that know nothing of processes and of pytest.
"""
