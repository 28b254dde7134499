"""
The guest: its fork, its entry into the sandbox, its channel, and the handle on it.
"""
