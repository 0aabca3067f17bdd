"""Bytes in, bytes out: envelopes, XAES-256-GCM and contexts. Knows neither Django nor keys' homes.

The normative text is `docs/spec/envelope-v1.md`.
"""
