"""How fast a column in clear becomes an encrypted one, while two writers go on."""
