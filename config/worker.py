"""
The web's gunicorn worker: one thread reads sockets, a few answer whole requests.

gunicorn's own gthread costs 400 µs a request here, most of it for moving a connection between its loop, its pool and
back (two registrations, a future, a callback, a pipe); this one costs a quarter (docs/decisions/0011). It also lets
threads see only requests that have arrived whole, so slow clients hold none (FAULTS.md B35), and it knows how long
requests wait for a thread, which gthread does not.
"""

import os
import resource
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any

from gunicorn.workers.base import Worker as GunicornWorker

from config import http1
from config.door import Door, OpenDoor, find_nothing
from config.line import Line

REQUEST_SECONDS = 5.0  # a request may take that long in all (FAULTS.md P12), so reading it may not take longer
UPLOAD_SECONDS = 30.0
FIRST_BYTE_SECONDS = 10.0
DRAINED_AT_ONCE = 4  # reads; whoever pours must not keep the loop from everybody else
DRAIN_SECONDS = 2.0  # for what a client still sends after its last answer: closing at once would reset the answer away
STOPPING_SECONDS = 2.0  # a stopping worker answers what arrives on kept connections for so long
REPLACED_SECONDS = 4.0  # one that is being replaced goes on accepting for so long: the next needs two to three to load
LOOK_SECONDS = 0.25  # how often what is done once in a while is done
READ_BYTES = 65_536
# The threads leave the CPU to the loop, PostgreSQL and the workers: at three times the capacity of one CPU the loop
# needs more than an equal share, and a refusal took 310 to 1,695 ms at p99, then 18 to 184 (docs/decisions/0016).
ANSWERING_NICENESS = 4
ACCEPTED_AT_ONCE, EVENTS_AT_ONCE, SPARE_FILES = 64, 128, 200
IN, OUT = select.EPOLLIN, select.EPOLLOUT


def raise_file_limit(wanted: int) -> None:
    """Let this process hold that many files and sockets, if the system allows: the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class Worker(GunicornWorker):  # type: ignore[misc]  # gunicorn is not typed
    """
    The loop owns all sockets: only its thread registers, reads and closes. Threads answer, and send directly.

    A connection is `is_busy` from its first waiting request until the last one is answered; only one thread has it.
    """

    def init_process(self) -> None:
        if self.cfg.is_ssl:
            raise SystemExit("config.worker: TLS ends at the proxy; remove --certfile and --keyfile")
        raise_file_limit(self.cfg.worker_connections + SPARE_FILES)
        self.poll = select.epoll()
        self.connections: dict[int, http1.Connection] = {}
        self.waiting: Line[http1.Connection | None] = Line()
        self.given_back: deque[http1.Connection] = deque()
        self.is_stopping = False
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop, or until the parent has gone."""
        self.door: Door = getattr(self.wsgi, "door", OpenDoor())
        self.find_ready: Callable[[dict[str, Any]], Any] = getattr(self.wsgi, "find_ready", find_nothing)
        threads = [threading.Thread(target=self.answer_requests, daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()
        self.listeners = {listener.fileno(): listener for listener in self.sockets}
        self.poll.register(self.PIPE[0], IN)  # signals write to it, and threads that give a connection back
        looked_at = time.monotonic()
        while self.alive and self.ppid == os.getppid():
            self.listen()
            self.turn_for(LOOK_SECONDS)
            now = time.monotonic()
            self.door.look(len(self.waiting), now - looked_at)
            looked_at = now
        self.stop()

    def turn_for(self, seconds: float) -> None:
        """Turn the loop for that long, then do what is done once in a while."""
        until = time.monotonic() + seconds
        while (self.alive or self.is_stopping) and (left := until - time.monotonic()) > 0:
            self.turn(left)
        self.notify()
        self.hang_up_on_the_late()

    def turn(self, seconds: float) -> None:
        for descriptor, event in self.poll.poll(seconds, EVENTS_AT_ONCE):
            if connection := self.connections.get(descriptor):
                if event & OUT:
                    self.send_rest(connection)
                else:
                    self.read_or_end(connection)
            elif listener := self.listeners.get(descriptor):
                self.accept(listener)
            else:
                self.take_back()

    def stop(self) -> None:
        """Answer what has arrived or soon will on kept connections, then close; accept only for those who come next."""
        self.is_stopping = True
        now = time.monotonic()
        accepting_until = now + (REPLACED_SECONDS if self.is_being_replaced() else 0.0)
        for connection in self.connections.values():
            if not connection.is_in_request:
                connection.deadline = min(connection.deadline, now + STOPPING_SECONDS)
        while time.monotonic() < accepting_until:
            self.turn_for(0.1)
        self.ignore()
        # What was accepted last has as long as what was accepted first.
        while self.connections and time.monotonic() < max(now, accepting_until) + self.cfg.graceful_timeout:
            self.turn_for(0.1)
        for _ in range(self.cfg.threads):
            self.waiting.put(None)
        for connection in list(self.connections.values()):
            self.close(connection)

    def is_being_replaced(self) -> bool:
        """
        Say whether the master has started others in our place (HUP) instead of stopping altogether.

        gunicorn stops the old workers the moment it has forked the new ones, which then load the shop: without us
        nobody would accept meanwhile, and for three seconds every customer would wait.
        """
        if os.getppid() != self.ppid:
            return False
        children = Path(f"/proc/{self.ppid}/task/{self.ppid}/children").read_text().split()
        return len(children) > int(self.cfg.workers)

    # --- connections ------------------------------------------------------------------------------------------------

    def watch(self, descriptor: int, events: int) -> None:
        """Hear of these events of a socket from now on; of none if `events` is 0, its hang-up included."""
        with suppress(FileNotFoundError):
            self.poll.unregister(descriptor)
        if events:
            self.poll.register(descriptor, events)

    def listen(self) -> None:
        """Accept connections while there is room for them."""
        if len(self.connections) < self.cfg.worker_connections:
            for descriptor in self.listeners:
                self.watch(descriptor, IN)

    def ignore(self) -> None:
        """Leave new connections to other processes, or to the backlog."""
        for descriptor in self.listeners:
            self.watch(descriptor, 0)

    def accept(self, listener: Any) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no file is left for it: others must close first
                self.log.warning("cannot accept: %s", error)
                self.ignore()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = http1.Connection(sock, peer, deadline=time.monotonic() + FIRST_BYTE_SECONDS)
            self.connections[connection.descriptor] = connection
            self.poll.register(connection.descriptor, IN)
            if len(self.connections) >= self.cfg.worker_connections:
                self.ignore()
                return

    def read_or_end(self, connection: http1.Connection) -> None:
        """Read; what nobody thought of ends this connection, not the process with everybody else's."""
        try:
            self.read(connection)
        except Exception:
            self.log.exception("Error reading from a connection")
            if self.connections.get(connection.descriptor) is connection:
                self.end(connection)

    def read(self, connection: http1.Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end(connection)
            return
        if connection.is_ending:
            return  # what comes after its last request is thrown away
        was_in_request, was_large = connection.is_in_request, connection.is_large
        try:
            connection.feed(data)
        except http1.Unreadable as error:
            self.refuse(connection, error.reason)
            return
        if connection.requests:
            self.dispatch(connection)
        if connection.is_in_request and not was_in_request:
            connection.deadline = time.monotonic() + REQUEST_SECONDS
        if connection.is_large and not was_large:
            connection.deadline = time.monotonic() + UPLOAD_SECONDS
            if sum(other.is_large for other in self.connections.values()) > http1.LARGE_AT_ONCE:
                self.refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE)

    def dispatch(self, connection: http1.Connection) -> None:
        """Give a connection with a whole request to the threads, unless one has it already."""
        with connection.lock:
            was_busy = connection.is_busy
            is_too_much = was_busy + len(connection.requests) > http1.PIPELINED_LIMIT
            connection.is_busy = was_busy or not is_too_much
        if is_too_much:
            self.refuse(connection, HTTPStatus.TOO_MANY_REQUESTS)
        if is_too_much or was_busy:
            return
        # An answer the client has not taken yet stands before the next one.
        while (
            connection.requests
            and not connection.unsent
            and (answer := self.answer_at_once(connection.requests[0].environ))
        ):
            self.answer_or_log(connection, connection.requests.popleft(), answer)
        if connection.requests and not connection.unsent:
            self.waiting.put(connection)
        else:
            self.give_back(connection)

    def answer_at_once(self, environ: dict[str, Any]) -> Any:
        """Return the application for what needs no thread, a refusal or an answer that is ready; None for the rest."""
        if self.door.refuses(environ, len(self.waiting)):
            return self.wsgi.turn_away
        if ready := self.find_ready(environ):
            self.door.needs_no_thread()
        return ready

    def refuse(self, connection: http1.Connection, status: HTTPStatus) -> None:
        """Answer what cannot be read, unless earlier requests of the connection are still to be answered; then end."""
        if not connection.is_busy and not connection.unsent:
            with suppress(OSError):
                connection.sock.send(http1.refusal(status))
        self.end(connection)

    def end(self, connection: http1.Connection) -> None:
        """Nothing more is heard of this client: close, after the answers to what it has asked."""
        self.watch(connection.descriptor, 0)
        with connection.lock:
            connection.is_ending = True
            is_busy = connection.is_busy
        if not is_busy:
            self.drain(connection)

    def drain(self, connection: http1.Connection) -> None:
        """Close our side and wait for the client's: closing at once would reset the last answer away."""
        connection.is_deaf, connection.is_busy = True, False
        connection.deadline = time.monotonic() + DRAIN_SECONDS
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            has_ended = not all(connection.sock.recv(READ_BYTES) for _ in range(DRAINED_AT_ONCE))
        except BlockingIOError:
            has_ended = False
        except OSError:
            has_ended = True
        if has_ended:
            self.close(connection)
        else:
            self.watch(connection.descriptor, IN)

    def close(self, connection: http1.Connection) -> None:
        del self.connections[connection.descriptor]
        self.watch(connection.descriptor, 0)
        connection.sock.close()

    def hang_up_on_the_late(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections.values()):
            if connection.deadline < now and not connection.is_busy:
                if connection.is_in_request and not connection.is_deaf:
                    self.refuse(connection, HTTPStatus.REQUEST_TIMEOUT)
                else:
                    self.close(connection)

    def take_back(self) -> None:
        """See what signals and threads have left: connections with an unsent rest, or at their end."""
        with suppress(BlockingIOError):
            os.read(self.PIPE[0], READ_BYTES)
        while self.given_back:
            connection = self.given_back.popleft()
            connection.is_busy = False
            if connection.unsent:
                connection.deadline = time.monotonic() + REQUEST_SECONDS
                self.watch(connection.descriptor, OUT)
            else:
                self.end(connection)

    def send_rest(self, connection: http1.Connection) -> None:
        """Go on with an answer that the socket did not take at once."""
        connection.is_busy = True
        before = len(connection.unsent)
        if self.send(connection, connection.unsent):
            self.watch(connection.descriptor, IN)
            self.give_back(connection)
        else:
            connection.is_busy = False
            if len(connection.unsent) < before:  # slow, but it reads
                connection.deadline = time.monotonic() + REQUEST_SECONDS

    # --- answers, in the threads ------------------------------------------------------------------------------------

    def answer_requests(self) -> None:
        os.nice(ANSWERING_NICENESS)  # on Linux: this thread alone
        me = threading.Lock()
        me.acquire()
        while (connection := self.waiting.take(me)) is not None:
            request = connection.requests.popleft()
            taken_at = time.monotonic()
            self.door.took(taken_at - request.arrived_at)
            self.answer_or_log(connection, request, self.wsgi)
            self.door.answered(time.monotonic() - taken_at)
            self.give_back(connection)

    def answer_or_log(self, connection: http1.Connection, request: http1.Request, application: Any) -> None:
        """Answer; an application that fails ends the connection, neither the thread nor the loop."""
        try:
            self.answer(connection, request, application)
        except Exception:
            self.log.exception("Error handling request %s", request.environ["RAW_URI"])
            connection.is_ending = True

    def answer(self, connection: http1.Connection, request: http1.Request, application: Any) -> None:
        """Call the application and send its answer, or what the socket takes of it."""
        answer = http1.Answer(request)
        try:
            body = application(request.environ, answer)
        except Exception:
            self.send(connection, http1.refusal(HTTPStatus.INTERNAL_SERVER_ERROR))
            raise
        if answer.is_last or self.is_stopping:  # only now: a stop may have come while the application worked
            answer.is_last = connection.is_ending = True
        try:
            parts = iter(body)
            first, second = next(parts, b""), next(parts, None)
            if second is None:
                self.send(connection, answer.whole(first))
            elif answer.is_sized:  # a file of the admin's, to anybody: its reader may be slow, and no thread waits
                self.send(connection, answer.whole(b"".join((first, second, *parts))))
            else:
                self.stream(connection, answer.stream(chain((first, second), parts)))
        finally:
            if hasattr(body, "close"):
                body.close()

    def send(self, connection: http1.Connection, data: bytes) -> bool:
        """Send what the socket takes and keep the rest; return whether there is none."""
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has gone
            connection.is_ending, sent = True, len(data)
        connection.unsent = data[sent:]
        return not connection.unsent

    def stream(self, connection: http1.Connection, parts: Iterable[bytes]) -> None:
        """Send an answer of unknown length part by part; only operators ask for one, so the thread waits for them."""
        is_writable = select.poll()  # select() ends at descriptor 1,023
        is_writable.register(connection.sock, select.POLLOUT)
        for part in parts:
            while not self.send(connection, part):
                part = connection.unsent
                if not is_writable.poll(REQUEST_SECONDS * 1_000):
                    raise TimeoutError("the client reads too slowly")

    def give_back(self, connection: http1.Connection) -> None:
        """Let the connection wait for its next request; whatever is out of the ordinary is for the loop."""
        connection.deadline = time.monotonic() + self.cfg.keepalive
        with connection.lock:
            if not connection.unsent and not connection.is_ending and not connection.requests:
                connection.is_busy = False
                return
        if connection.requests and not connection.unsent:
            self.waiting.put(connection)
            return
        self.given_back.append(connection)
        with suppress(BlockingIOError):
            os.write(self.PIPE[1], b".")
