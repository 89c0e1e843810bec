"""The network to PostgreSQL and Redis is slow or cut."""
