"""The bytes: docs/spec/envelope-v1.md against the code, published vectors and other machinery."""
