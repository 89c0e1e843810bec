"""What the web server itself must stand: FAULTS.md B35-B41."""

import socket
import time
from contextlib import ExitStack, suppress

import pytest

from config.tests.client import Client
from config.tests.conftest import World


def test_unknown_host_is_refused(client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "a b", ""):
        said = client.raw(f"GET /products HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 400 "), said[:200]
        assert b"<html" not in said or host in ("a b", "")
    assert client.get("/products?size=1", X_Forwarded_Host="evil.example").status == 200


def test_links_do_not_follow_a_forged_forwarded_host(client: Client, world: World) -> None:
    for _ in range(2):
        world.product(category="forged")
    path = "/products?category=forged&size=1"
    link = client.get(path, X_Forwarded_Host="evil.example", X_Forwarded_Proto="https").json["next"]
    assert link.startswith(f"http://{client.address.netloc}/products?")


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /products HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x01b\r\n", {400}),
        (b"GET /products HTTP/1.1\r\nHost: 127.0.0.1\r\nBad Name: x\r\n", {400}),
        (
            b"GET /products HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(150)),
            {400, 431},
        ),
        (b"GET /products HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 9_000 + b"\r\n", {400, 431}),
        (b"GET /products?q=" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n", {400, 414}),
        (b"GARBAGE\r\nHost: 127.0.0.1\r\n", {400}),
        (b"GET /products HTTP/9.9\r\nHost: 127.0.0.1\r\n", {400, 505}),
        (
            b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            {400},
        ),
        (b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n", {400}),
        (b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n", {400}),
    ],
)
def test_malformed_requests_are_refused_by_the_server(client: Client, head: bytes, statuses: set[int]) -> None:
    said = client.raw(head + b"Connection: close\r\n\r\n")
    assert int(said.split()[1]) in statuses, said[:300]


def test_a_trailer_is_no_header(client: Client, world: World) -> None:
    customer, before = world.customer(), world.counts()
    head = b"POST /balance/charge HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    body = b'Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"amount": 5}\r\n0\r\n'
    trailer = f"Authorization: Bearer {customer.token}\r\n\r\n".encode()
    assert client.raw(head + body + trailer).startswith(b"HTTP/1.1 401 ")
    assert world.counts() == before


def test_answer_without_a_body_leaves_the_connection_in_step(client: Client) -> None:
    """HEAD, 204 and 304 on a kept connection: a stray byte would become the head of the next answer."""
    host = b"Host: 127.0.0.1\r\n"
    lines = [
        *(b"HEAD /livez", b"HEAD /products?size=1", b"HEAD /nowhere", b"HEAD /docs", b"HEAD /openapi.json"),
        *(b"HEAD /readyz", b"OPTIONS /orders", b"HEAD /admin/login/", b"HEAD /static/nothing.css"),
    ]
    requests = b"".join(b"%s HTTP/1.1\r\n%s\r\n" % (line, host) for line in lines)
    evil = b"HEAD /products HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    said = client.raw(requests + evil + b"GET /livez HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 ") == len(lines) + 2
    heads = said.split(b"\r\n\r\n")
    assert heads[-1] == b'{"status":"ok"}'
    assert all(head.startswith(b"HTTP/1.1 ") for head in heads[:-1])


def test_half_sent_requests_do_not_hold_the_shop(client: Client) -> None:
    """Many more than there are threads, half without the end of their head: others notice nothing, and all must go."""
    body = (
        b"POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    began = time.monotonic()
    with ExitStack() as stack:
        peers = []
        for sent in [body, body[:40]] * 40:
            peer = socket.create_connection((client.address.hostname, client.address.port or 0), timeout=10)
            peers.append(stack.enter_context(peer))
            peer.sendall(sent)
        assert client.get("/livez").status == 200
        for peer in peers:
            said = b""
            with suppress(ConnectionResetError):
                while more := peer.recv(4_096):
                    said += more
            assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert time.monotonic() - began < 20
