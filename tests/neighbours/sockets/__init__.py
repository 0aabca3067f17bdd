"""Channels serves websockets beside Django, and no middleware of Django sees them."""
