"""Primary keys of rows, as people read them."""

from envelope_fields.jobs.job import Key


def displayed_key(key: Key) -> str:
    """Return a key for people to read: of one column its value, of several a list of them."""
    # PostgreSQL stores no text with a zero in it.
    texts = [
        item.hex() if isinstance(item, bytes) else str(item).replace("\0", "\\0") for item in key
    ]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
