"""A clinic whose notes are in clear, and become encrypted while it writes."""
