"""Packages that keep copies of rows, of values or of what queries gave: checks say so."""
