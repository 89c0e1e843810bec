"""How a row is sent, and what is asked of every answer to it."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser
from typing import Any

import psycopg

from config.tests.bad_input.rows import Request, Row
from config.tests.bad_input.scene import Scene, completed
from config.tests.client import Answer, Client
from shop.testing import Running, race, wait_until

Send = Callable[[Request], Answer]


def parsed(said: bytes) -> Answer:
    """Return what a raw request was answered with, chunked or not."""
    head, _blank, body = said.partition(b"\r\n\r\n")
    line, _end, fields = head.partition(b"\r\n")
    headers = BytesHeaderParser().parsebytes(fields + b"\r\n\r\n")
    if headers["Transfer-Encoding"] == "chunked":
        body = body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    return Answer(int(line.split()[1]), headers, body)


def sender(scene: Scene) -> Send:
    """Return how this scene's requests are sent; every answer but a raw one is checked against the contract as well."""
    client: Client = scene.client

    def send(request: Request) -> Answer:
        request = completed(request, scene)
        if request.raw:
            return parsed(client.raw(request.raw))
        token = "" if "Authorization" in request.headers else scene.token_of(request.who)
        return client.request(
            request.method, request.path, body=request.body, token=token, headers=request.headers, may_be_busy=True
        )

    return send


# --- ways of sending -------------------------------------------------------------------------------------------------


def one_by_one(row: Row, scene: Scene, send: Send) -> list[Answer]:
    return [send(request) for request in row.requests]


def together(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send all at once: each takes as long as the shop's patience lasts."""
    return race(*[lambda request=request: send(request) for request in row.requests])


def at_once(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send the same twice at the same moment; return the answer of the one who came second."""
    first, second = sorted(race(*[lambda: send(row.requests[0])] * 2), key=lambda answer: answer.status)
    assert first.status == 201, first
    return [second]


def twenty_tries(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send the same wrong guess 20 times; return the answers from the tenth on, once it is too much."""
    answers = [send(row.requests[0]) for _ in range(20)]
    outcomes = [answer.outcome for answer in answers]
    allowed = outcomes.count((401, "invalid_credentials"))
    assert allowed in (10, 11), outcomes  # a token comes back every 6 s
    return answers[allowed:]


@contextmanager
def held_wallet(scene: Scene) -> Iterator[None]:
    """Hold the lock that every charge of the customer needs."""
    with psycopg.connect(scene.world.shop.database_url) as holder:
        holder.execute("SELECT FROM balance_wallet WHERE user_id = %s FOR UPDATE", [scene.me.user_id])
        yield


def in_flight(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send the same again while the first still waits for its wallet; the first then succeeds, and is replayed."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'shop-web'"
    with held_wallet(scene):
        first = Running(lambda: send(row.requests[0]))
        wait_until(lambda: bool(scene.world.one(blocked)))
        meanwhile = send(row.requests[0])
    assert first.outcome().status == 200
    replayed = send(row.requests[0])
    assert (replayed.body, replayed.headers["Idempotent-Replayed"]) == (first.outcome().body, "true")
    return [meanwhile]


def after_busy(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Let the first attempt end at the lock's time limit; return the answer to the second."""
    with held_wallet(scene):
        busy = send(row.requests[0])
    assert (busy.outcome, int(busy.headers["Retry-After"]) >= 1) == ((503, "busy"), True)
    return [send(row.requests[0])]


def settles(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send an order and wait until it has failed as it should."""
    accepted = send(row.requests[0])
    settled = scene.world.settled(scene.me, accepted)
    assert (settled["status"], settled["failure"]["code"]) == ("failed", row.failure)
    return [accepted]


def while_pending(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send while an order cannot leave its first state; the order is then paid as if nothing had been."""
    product_id = scene["product"]
    with scene.world.database.transaction():
        scene.world.rows("SELECT FROM catalog_stock WHERE product_id = %s FOR UPDATE", product_id)
        body = {"items": [{"product_id": product_id, "quantity": 1}]}
        accepted = scene.client.post("/orders", body, token=scene.me.token)
        scene.put("pending", accepted.json["order_id"])
        answers = one_by_one(row, scene, send)
    assert scene.world.settled(scene.me, accepted)["status"] == "paid"
    return answers


def same_etag(row: Row, scene: Scene, send: Send) -> list[Answer]:
    """Send what must be one cache entry with the address without its last parameters."""
    plain = row.requests[0].path.partition("&")[0]
    etag = scene.client.get(plain).headers["ETag"]
    answers = one_by_one(row, scene, send)
    assert {answer.headers["ETag"] for answer in answers} <= {etag, scene.client.get(plain).headers["ETag"]}
    return answers


SCENARIOS: dict[str, Callable[[Row, Scene, Send], list[Answer]]] = {
    function.__name__: function
    for function in (
        *(one_by_one, together, at_once, twenty_tries, in_flight, after_busy, settles, while_pending, same_etag),
    )
}


# --- what is asked of every answer -----------------------------------------------------------------------------------


def prepare(row: Row, scene: Scene) -> None:
    """Make what the row names, and send what comes before it."""
    send = sender(scene)
    for request in row.requests:
        scene.token_of(request.who)
        completed(request, scene)
    for request in row.before:
        status = send(request).status
        assert status == row.before_status or (not row.before_status and status < 300), (request, status)


def answers_to(row: Row, scene: Scene) -> list[Answer]:
    """Send the row, judge its answers, and return them."""
    answers = SCENARIOS[row.scenario](row, scene, sender(scene))
    assert answers
    for answer in answers:
        judge(row, answer)
    told = {json.dumps({**answer.json, "request_id": ""}) for answer in answers} if row.one_answer else set()
    assert len(told) <= 1, told
    return answers


def judge(row: Row, answer: Answer) -> None:
    """Fail unless the answer is what the row says, and a problem document if it is a refusal."""
    told = f"B{row.number}: {answer.status} {answer.body[:300]!r}"
    assert answer.status == row.status, told
    if row.status >= 400:
        judge_problem(row, answer, told)
    for name, pattern in row.headers.items():
        given = answer.headers[name]
        assert (given is None) if pattern is None else re.fullmatch(pattern, given or ""), f"{name}: {given}: {told}"


def judge_problem(row: Row, answer: Answer, told: str) -> None:
    assert answer.headers.get_content_type() == "application/problem+json", told
    problem: dict[str, Any] = answer.json
    assert problem["status"] == row.status, told
    if row.is_servers_own:
        return
    assert problem["code"] == row.code, told
    assert problem["request_id"] == answer.headers["X-Request-Id"] != "", told
    assert set(row.facts) <= problem.keys(), told
    pointers = [error["pointer"] for error in problem.get("errors", [])]
    assert not row.pointer or any(re.fullmatch(row.pointer, pointer) for pointer in pointers), told
