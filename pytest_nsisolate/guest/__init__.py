"""
The guest: its fork, its way in, its channel, and the handle on it.
"""
