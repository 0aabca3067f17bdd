"""A project whose users log in with an encrypted e-mail address, and its tests."""
