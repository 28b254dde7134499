"""
The interface to Linux: system calls, descriptors, namespaces. No pytest, no policy.
"""
