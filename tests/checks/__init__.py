"""Each check fires on what it is for, and is silent on a sound declaration."""
