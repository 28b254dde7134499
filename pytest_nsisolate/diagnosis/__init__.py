"""
The reasons why a sandbox is refused: probe, causes, doctor.
"""
