"""The app of which each tenant has tables of its own."""
