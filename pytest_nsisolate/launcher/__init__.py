"""
The launcher and the inits of its sandboxes, which run in a bare interpreter.
"""
