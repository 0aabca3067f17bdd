"""Sentry's SDK sends what the frames of an error hold, and what a request has posted."""
