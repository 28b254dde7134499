"""
The launcher and the init of each sandbox, which run in a bare interpreter.
"""
