"""What happens while `migrate` runs: what would lose values, or the keys of values, is refused."""
