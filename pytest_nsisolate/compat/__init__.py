"""
The private parts of pytest; no other package touches them.
"""
