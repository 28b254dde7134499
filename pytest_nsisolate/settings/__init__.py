"""
The settings of a test and of a session: marker, options, spec, scope.
"""
