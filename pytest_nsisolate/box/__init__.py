"""
Boxes and links: further sandboxes that a test makes for itself.
"""
