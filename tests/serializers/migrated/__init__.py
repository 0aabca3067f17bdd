"""Makes the test app count as one with migrations: Django serializes no other."""
