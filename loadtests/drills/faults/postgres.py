"""PostgreSQL restarts, goes away, freezes, dies, or loses its disk."""
