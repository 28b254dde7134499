"""
The supervisor's side of sandboxes, and of the launchers that make them.
"""
