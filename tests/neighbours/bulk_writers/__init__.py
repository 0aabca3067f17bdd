"""Packages that write in bulk, by SQL of their own; some ask fields for what they write."""
