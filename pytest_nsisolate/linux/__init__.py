"""
The Linux kernel: system calls, descriptors, namespaces. No pytest, no policy.
"""
