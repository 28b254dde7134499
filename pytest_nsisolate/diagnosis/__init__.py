"""
The diagnosis of a refusal: probe, steps, causes, explanations and doctor.
"""
