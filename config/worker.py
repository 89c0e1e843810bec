"""The web's worker: gunicorn's gthread, but no client keeps a thread waiting for the rest of its request for ever."""

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

REQUEST_SECONDS = 5.0  # a request may take that long in all (FAULTS.md P12), so reading it may not take longer


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn is not typed
    """
    Hangs up on a client whose request has not come to its end in time (FAULTS.md B35).

    gthread reads a request in the thread that answers it and waits without a limit: as many half-sent requests as there
    are threads would stop the shop for good. A thread that is past reading does not notice: only reading ends.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: dict[Any, float] = {}

    def handle(self, conn: Any) -> Any:
        self.begun[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self.begun.pop(conn, None)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do gthread's turn of the main loop, at least one a second, then look who is late."""
        super().wait_for_and_dispatch_events(timeout)
        deadline = time.monotonic() - REQUEST_SECONDS
        for conn, begun in list(self.begun.items()):
            if begun < deadline:
                with suppress(OSError):  # it has just gone by itself
                    conn.sock.shutdown(socket.SHUT_RD)
