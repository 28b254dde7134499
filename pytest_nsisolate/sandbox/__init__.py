"""
Sandboxes, and the launchers they come from, as the supervisor holds them.
"""
