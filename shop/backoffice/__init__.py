"""What the admin pages of all rooms stand on; imported by admin modules only, never by the API or a worker."""
