"""
The seccomp profile for container engines.
"""
