"""What the tests of another package find beside themselves: its models with encrypted fields.

A package of its own, since each of them has a package `tests`, too.
"""
