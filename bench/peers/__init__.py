"""The same work done by other packages that encrypt fields, with ours beside them."""
