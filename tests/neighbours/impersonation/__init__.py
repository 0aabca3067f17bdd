"""Packages by which one user acts as another: the policy decides for the other."""
