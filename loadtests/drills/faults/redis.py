"""Redis goes away, freezes, forgets or is full."""
