"""
The database backend of `settings.DATABASES`.

Django's health check is a `SELECT 1` before a request's first statement: on routes of one statement half of what the
database costs. A server that restarts or drops a connection closes its socket, and a silent socket says so for a
thousandth of that. What silence cannot tell (a black hole) ends in `tcp_user_timeout`, as it would after `SELECT 1`.
"""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Asks the server only when its socket has news between requests, or after an error."""

    def is_usable(self) -> bool:
        if self.errors_occurred or self._has_news():
            return bool(super().is_usable())
        return True

    def _has_news(self) -> bool:
        """Say whether anything, the end included, waits to be read from an idle connection."""
        if self.connection is None or self.connection.closed:
            return True
        poller = select.poll()
        poller.register(self.connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poller.poll(0))
