"""The web's worker between real sockets and a small application, with two threads."""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from config import http1
from config.tests.served import BIG
from config.worker import ANSWERING_NICENESS, DRAINED_AT_ONCE, READ_BYTES, Worker
from shop.local import ports
from shop.testing import wait_until
from shop.testing_shop import ROOT

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def say(self, data: bytes) -> bytes:
        """Send bytes and read until the server hangs up."""
        with self.connect() as peer:
            peer.sendall(data)
            return read_all(peer)


def read_all(peer: socket.socket) -> bytes:
    said = b""
    while more := peer.recv(1 << 20):
        said += more
    return said


def bodies(said: bytes) -> list[bytes]:
    """Return the bodies of answers that have a length."""
    found = []
    while said:
        head, _blank, rest = said.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(rest[:length])
        said = rest[length:]
    return found


def start(*options: str, application: str = "application", **environment: str) -> Server:
    port = ports.free_port()
    command = ("-m", "gunicorn", "--worker-class=config.worker.Worker", "--threads=2", f"--bind=127.0.0.1:{port}")
    process = subprocess.Popen(
        [sys.executable, *command, "--no-control-socket", *options, f"config.tests.served:{application}"],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.DEVNULL,
    )
    server, deadline = Server(process, port), time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            server.say(LAST % b"/")
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return server
    process.kill()
    pytest.fail("gunicorn did not start")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = start()
    yield server
    server.process.terminate()
    assert server.process.wait(10) == 0


def test_threads_that_answer_leave_the_cpu_to_the_loop(server: Server) -> None:
    pid = int(bodies(server.say(LAST % b"/pid"))[0].split()[0])
    tasks = {path.parent.name: path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")}
    niceness = {name: int(said.rpartition(")")[2].split()[16]) for name, said in tasks.items()}
    loop = niceness.pop(str(pid))
    assert sorted(niceness.values()) == [loop + ANSWERING_NICENESS] * 2


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    said = server.say(b"".join(GET % f"/?{n}".encode() for n in range(12)) + LAST % b"/?last")
    assert bodies(said) == [*(f"/ {n} 0".encode() for n in range(12)), b"/ last 0"]


def test_more_than_sixteen_requests_at_once_are_refused_unanswered(server: Server) -> None:
    said = server.say(b"".join(GET % f"/?{n}".encode() for n in range(17)))
    assert said.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"/ 0 0" not in said
    head, _blank, body = said.partition(b"\r\n\r\n")
    assert b"\r\nRetry-After: 1" in head
    assert f"X-Request-Id: {json.loads(body)['request_id']}".encode() in head
    assert len(bodies(server.say(b"".join(GET % f"/?{n}".encode() for n in range(15)) + LAST % b"/?last"))) == 16


def test_blank_lines_before_a_request_are_passed_over_and_end_nothing(server: Server) -> None:
    """RFC 9112, 2.2. They once ended the process: its loop asked a connection without a request for its limit."""
    pid = bodies(server.say(LAST % b"/pid"))
    with server.connect() as other, server.connect() as peer:
        other.sendall(LAST % b"/slow")
        peer.sendall(b"\r\n")
        time.sleep(0.1)
        peer.sendall(b"\r\n\r\n" + GET % b"/?first" + b"\r\n")
        time.sleep(0.1)
        peer.sendall(LAST % b"/?second")
        assert bodies(read_all(peer)) == [b"/ first 0", b"/ second 0"]
        assert bodies(read_all(other)) == [b"/slow  0"]
    assert bodies(server.say(LAST % b"/pid")) == pid


def test_blank_lines_begin_no_request() -> None:
    """Else the connection would be told after five seconds that its request came too slowly."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as _peer:
        sock, address = listener.accept()
        with sock:
            connection = http1.Connection(sock, address, deadline=0.0)
            for data, is_in_request in [
                (b"\r\n", False),
                (b"GET / HT", True),
                (b"TP/1.1\r\nHost: x\r\n\r\n\r\n", False),
            ]:
                connection.feed(data)
                assert connection.is_in_request is is_in_request
            assert len(connection.requests) == 1


def test_a_connection_that_cannot_be_read_is_ended_and_the_loop_goes_on() -> None:
    worker = idle_worker()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = mock.Mock(sock=ours, descriptor=ours.fileno(), lock=threading.Lock(), is_busy=False)
        connection.feed.side_effect, connection.is_ending = AttributeError("nobody thought of it"), False
        worker.connections = {connection.descriptor: connection}
        worker.poll.register(ours, select.EPOLLIN)
        theirs.send(b"x")
        worker.turn(1.0)
        assert theirs.recv(1) == b""
        assert (connection.is_ending, connection.is_deaf) == (True, True)


def test_few_uploads_wait_in_memory_at_once_and_only_where_files_are_imported(server: Server) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        peers = [stack.enter_context(server.connect()) for _ in range(http1.LARGE_AT_ONCE + 1)]
        for peer in peers:
            peer.sendall(head % b"/admin/catalog/product/import/" + b"x" * (http1.BODY_LIMIT + 1))
            time.sleep(0.05)
        assert read_all(peers.pop()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert not select.select(peers, [], [], 0.1)[0]
        peers[0].sendall(b"x" * (1_000_000 - http1.BODY_LIMIT - 1))
        assert select.select([peers[0]], [], [], 10)[0]  # answered, and another may come
        with server.connect() as late:
            late.sendall(head % b"/admin/catalog/product/import/" + b"x" * (http1.BODY_LIMIT + 1))
            assert not select.select([late], [], [], 0.2)[0]
    assert b" 0" in server.say(
        head % b"/admin/login/"
    )  # too long a body elsewhere: the application hears only how long


STREAMED = b"POST /drip HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_trailers_and_extensions_of_chunks_have_a_limit(server: Server) -> None:
    """The parser keeps them until they end, and whoever sends one without end keeps the loop busy with it."""
    for endless in (b"3\r\nabc\r\n0\r\nT: ", b"3;x="):
        with server.connect() as peer:
            peer.sendall(STREAMED + endless + b"z" * 3 * READ_BYTES)  # more than one reading
            assert read_all(peer).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    many = b"".join(b"1\r\nx\r\n" for _ in range(20_000))  # their framing is longer than that, and ends each time
    with server.connect() as peer:
        for start in range(0, len(many), 8_192):
            peer.sendall((STREAMED if start == 0 else b"") + many[start : start + 8_192])
        peer.sendall(b"0\r\nT: short\r\n\r\n")
        assert bodies(read_all(peer)) == [b"/drip  20000"]


def idle_worker() -> Worker:
    """Return a worker that serves nobody yet."""
    worker = Worker.__new__(Worker)
    worker.poll, worker.log = select.epoll(), logging.getLogger("test")
    worker.listeners, worker.connections = {}, {}
    return worker


def test_who_pours_after_the_last_answer_does_not_keep_the_loop() -> None:
    pouring = mock.Mock()
    pouring.recv.return_value = b"x"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker, connection = idle_worker(), mock.Mock(sock=pouring, descriptor=ours.fileno())
        worker.drain(connection)
        assert pouring.recv.call_count == DRAINED_AT_ONCE
        theirs.send(b"x")
        assert worker.poll.poll(1.0) == [(ours.fileno(), select.EPOLLIN)]


def test_who_reads_slowly_but_reads_is_not_hung_up_on() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        worker, connection = idle_worker(), mock.Mock(sock=ours, unsent=b"x" * 10_000_000, deadline=0.0, is_busy=False)
        worker.send_rest(connection)
        assert (connection.deadline > 0.0, connection.is_busy) == (True, False)
        connection.deadline = 0.0
        worker.send_rest(connection)  # the socket is full: nothing was read
        assert connection.deadline == 0.0


def test_a_client_may_stop_sending_before_it_reads(server: Server) -> None:
    with server.connect() as peer:
        peer.sendall(GET % b"/slow?half-closed")
        peer.shutdown(socket.SHUT_WR)
        assert bodies(read_all(peer)) == [b"/slow half-closed 0"]


def test_who_waits_to_send_its_body_is_told_to_go_on(server: Server) -> None:
    with server.connect() as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"abc")
        peer.shutdown(socket.SHUT_WR)
        assert bodies(read_all(peer)) == [b"/  3"]


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with server.connect() as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /drip HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc":
            peer.sendall(bytes([byte]))
        assert bodies(read_all(peer)) == [b"/drip  3"]


@pytest.mark.parametrize("path", [b"/big", b"/file"])
def test_slow_readers_hold_no_thread(server: Server, path: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(6)]  # three times as many as there are threads
        for peer in slow:
            peer.sendall(LAST % path)
        assert bodies(server.say(LAST % b"/?meanwhile")) == [b"/ meanwhile 0"]
        assert [len(bodies(read_all(peer))[0]) for peer in slow] == [BIG] * 6


def test_an_answer_in_parts_is_framed(server: Server) -> None:
    said = server.say(GET % b"/parts" + LAST % b"/?next")
    first, _end, rest = said.partition(b"0\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in first
    assert first.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n")
    assert bodies(rest) == [b"/ next 0"]


def test_a_failing_application_is_a_500(server: Server) -> None:
    assert server.say(GET % b"/fail").startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


H2C = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"GET /?get HTTP/1.1\r\n" + H2C + b"\r\n", b"/ get 0"),
        (b"POST /?sized HTTP/1.1\r\n" + H2C + b"Content-Length: 3\r\n\r\nabc", b"/ sized 3"),
        (b"POST /?chunked HTTP/1.1\r\n" + H2C + CHUNKED, b"/ chunked 3"),
    ],
)
@pytest.mark.parametrize("size", [1, 40, 4_096])
def test_a_wish_for_another_protocol_is_passed_over(server: Server, asked: bytes, answered: bytes, size: int) -> None:
    sent = asked + LAST % b"/?next"
    with server.connect() as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            peer.sendall(sent[start : start + size])
        assert bodies(read_all(peer)) == [answered, b"/ next 0"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"400 Bad Request"),  # no Host
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n", b"501 Not Implemented"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100, b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: %b\r\n" % (b"y" * 8_000) * 5, b"431 Request Header Fields Too Large"),
    ],
)
def test_heads_beyond_the_limits_are_refused(server: Server, head: bytes, status: bytes) -> None:
    assert server.say(head + b"\r\n").startswith(b"HTTP/1.1 %b\r\n" % status)


def test_http_1_0_needs_no_host_and_ninety_nine_headers_are_not_too_many(server: Server) -> None:
    assert bodies(server.say(b"GET /?old HTTP/1.0\r\n\r\n")) == [b"/ old 0"]
    assert bodies(server.say(b"GET /?many HTTP/1.0\r\n" + b"X: y\r\n" * 99 + b"\r\n")) == [b"/ many 0"]


def test_names_with_underscores_are_dropped_and_one_host_is_enough(server: Server) -> None:
    twice = b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"
    assert server.say(twice).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_stop_finishes_what_has_begun_and_says_close_to_the_rest() -> None:
    server = start()
    with server.connect() as begun, server.connect() as kept:
        kept.sendall(GET % b"/")
        assert b"Connection: keep-alive" in kept.recv(4_096)
        begun.sendall(GET % b"/slow?begun")
        time.sleep(0.2)  # it is in the application now, for half a second
        os.kill(server.process.pid, signal.SIGTERM)
        assert bodies(read_all(begun)) == [b"/slow begun 0"]
        kept.sendall(GET % b"/?kept")
        answer = read_all(kept)
    assert b"\r\nConnection: close\r\n" in answer
    assert bodies(answer) == [b"/ kept 0"]
    assert server.process.wait(10) == 0


def test_while_the_next_one_loads_the_old_one_goes_on(tmp_path: Path) -> None:
    marker = tmp_path / "from now on"
    server = start(SLOW_START=str(marker))
    old = bodies(server.say(LAST % b"/pid"))
    marker.touch()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(children_of(server.process.pid)) == 2)
    time.sleep(0.3)  # until the old one has heard of it; the next one needs two seconds
    assert bodies(server.say(LAST % b"/pid")) == old
    wait_until(lambda: len(children_of(server.process.pid)) == 1)
    assert bodies(server.say(LAST % b"/pid")) != old
    server.process.terminate()
    assert server.process.wait(10) == 0


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


# --- admission ------------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow() -> Iterator[Server]:
    server = start(application="guarded")
    yield server
    server.process.terminate()
    assert server.process.wait(10) == 0


def hold_both_threads(server: Server, stack: ExitStack) -> list[socket.socket]:
    """Have two requests hold the threads and a third wait for one, until somebody asks for `/release`."""
    peers = [stack.enter_context(server.connect()) for _ in range(3)]
    for peer in peers[:2]:
        peer.sendall(LAST % b"/held")
    time.sleep(0.2)
    peers[2].sendall(LAST % b"/vital")
    wait_until(lambda: bodies(server.say(LAST % b"/ready")) == [b"no"])  # the queue is full
    return peers


def let_go(server: Server, held: list[socket.socket]) -> None:
    assert bodies(server.say(LAST % b"/release")) == [b"/release  0"]
    assert [bodies(read_all(peer)) for peer in held] == [[b"/held  0"], [b"/held  0"], [b"/vital  0"]]


def test_who_finds_the_queue_full_is_answered_at_once_and_stays_connected(narrow: Server) -> None:
    with ExitStack() as stack:
        waiting = hold_both_threads(narrow, stack)
        with narrow.connect() as peer:
            peer.sendall(GET % b"/?refused" + GET % b"/?refused")
            said = b""
            while said.count(b"no") < 2:
                said += peer.recv(4_096)
            assert not select.select(waiting, [], [], 0)[0], "it waited for a thread"
            let_go(narrow, waiting)
            peer.sendall(LAST % b"/?now")
            assert bodies(read_all(peer)) == [b"/ now 0"]
    assert bodies(said) == [b"no", b"no"]
    assert said.count(b"HTTP/1.1 503 Service Unavailable\r\n") == 2
    assert said.count(b"Connection: keep-alive\r\n") == 2


def test_who_is_refused_with_its_last_request_is_hung_up_on(narrow: Server) -> None:
    with ExitStack() as stack:
        held = hold_both_threads(narrow, stack)
        assert bodies(narrow.say(LAST % b"/")) == [b"no"]
        let_go(narrow, held)


def test_a_refusal_that_fails_ends_its_connection_and_nothing_else(narrow: Server) -> None:
    with ExitStack() as stack:
        held = hold_both_threads(narrow, stack)
        assert narrow.say(GET % b"/fail").startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        let_go(narrow, held)
    assert bodies(narrow.say(LAST % b"/vital")) == [b"/vital  0"]


def test_what_is_vital_waits_and_is_answered(narrow: Server) -> None:
    with ExitStack() as stack:
        held = hold_both_threads(narrow, stack)
        with narrow.connect() as peer:
            peer.sendall(LAST % b"/vital")
            assert not select.select([peer], [], [], 0.2)[0]
            let_go(narrow, held)
            assert bodies(read_all(peer)) == [b"/vital  0"]


def test_the_door_hears_how_long_requests_waited_and_took(narrow: Server) -> None:
    with ExitStack() as stack:
        held = hold_both_threads(narrow, stack)
        time.sleep(0.5)
        let_go(narrow, held)
    waited, busy, has_looked, _ready = bodies(narrow.say(LAST % b"/seen"))[0].split()
    assert (float(waited) >= 0.5, float(busy) >= 0.5, has_looked) == (True, True, b"True")


def ask_while_threads_are_held(server: Server, path: bytes, *, seconds: float) -> bytes:
    """Ask while both threads are held; return what is heard within so many seconds, and let the threads go."""
    with ExitStack() as stack:
        held, peer = [stack.enter_context(server.connect()) for _ in range(2)], stack.enter_context(server.connect())
        for one in held:
            one.sendall(LAST % b"/held")
        time.sleep(0.2)
        peer.sendall(LAST % path)
        heard = read_all(peer) if select.select([peer], [], [], seconds)[0] else b""
        assert bodies(server.say(LAST % b"/release")) == [b"/release  0"]
        assert [bodies(read_all(one)) for one in held] == [[b"/held  0"]] * 2
        assert bodies(heard or read_all(peer)) == [path + b"  0"]
        return heard


def test_an_answer_that_is_ready_waits_for_no_thread(narrow: Server) -> None:
    assert ask_while_threads_are_held(narrow, b"/ready", seconds=10) != b""
    assert bodies(narrow.say(LAST % b"/seen"))[0].split()[3] == b"2"  # with the one that let the threads go


def test_control_what_is_not_ready_waits_for_a_thread(narrow: Server) -> None:
    assert ask_while_threads_are_held(narrow, b"/vital", seconds=0.5) == b""


def test_who_finds_the_queue_full_is_refused_what_is_ready_too(narrow: Server) -> None:
    with ExitStack() as stack:
        held = hold_both_threads(narrow, stack)
        assert bodies(narrow.say(LAST % b"/ready")) == [b"no"]
        let_go(narrow, held)


def test_ready_answers_keep_their_place_among_pipelined_requests(narrow: Server) -> None:
    said = narrow.say(GET % b"/ready" + GET % b"/slow" + GET % b"/ready" + LAST % b"/ready")
    assert bodies(said) == [b"/ready  0", b"/slow  0", b"/ready  0", b"/ready  0"]


def test_ready_answers_a_slow_reader_has_not_taken_stand_before_the_next_ones(narrow: Server) -> None:
    """A second answer must not overwrite what the socket did not take of the first."""
    with narrow.connect() as peer:
        peer.sendall(GET % b"/ready/big" + GET % b"/ready/big" + LAST % b"/ready")
        time.sleep(0.3)
        assert [(len(body), body[-6:]) for body in bodies(read_all(peer))] == [
            (BIG, b"xxxxxx"),
            (BIG, b"xxxxxx"),
            (9, b"ady  0"),
        ]


def test_processes_forked_from_a_loaded_parent_are_refused() -> None:
    command = ("-m", "gunicorn", "--config=config/gunicorn.py", "--preload", f"--bind=127.0.0.1:{ports.free_port()}")
    ended = subprocess.run(
        [sys.executable, *command, "config.tests.served:application"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "this shop's web runs without --preload" in ended.stderr
