"""
The settings of tests and of the session: markers, options, specs, scopes.
"""
