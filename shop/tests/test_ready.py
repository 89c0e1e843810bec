"""Public answers that a process gives again as they are."""

import time

import pytest

from shop import metrics, ready, representations
from shop.ready import Ready

LIST = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/products",
    "QUERY_STRING": "size=2",
    "HTTP_HOST": "shop.example",
}
FIELDS = [("Content-Type", "application/json"), ("ETag", '"1"')]


@pytest.fixture(autouse=True)
def nothing_kept():
    ready.forget()
    yield
    ready.forget()


@pytest.fixture
def kept():
    answer = Ready(time.monotonic() + 60, "products", FIELDS, b"[1,2]")
    ready.keep(LIST, answer)
    return answer


def test_the_same_request_gets_the_kept_answer_under_its_own_id(kept, monkeypatch):
    counted, started = [], []
    monkeypatch.setattr(metrics, "observe", lambda **labels: counted.append(labels))
    environ = LIST | {"HTTP_X_REQUEST_ID": "mine", "HTTP_USER_AGENT": "another", "HTTP_ACCEPT_LANGUAGE": "ko"}
    answer = ready.find(environ)
    assert answer is kept
    assert list(answer(environ, lambda status, fields: started.append((status, fields)))) == [b"[1,2]"]
    assert started == [("200 OK", [*FIELDS, ("X-Request-Id", "mine")])]
    assert counted == [{"method": "GET", "route": "products", "status": 200, "seconds": 0.0}]
    assert FIELDS == [("Content-Type", "application/json"), ("ETag", '"1"')]


@pytest.mark.parametrize(
    "other",
    [
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "POST"},
        {"PATH_INFO": "/products/top-selling"},
        {"QUERY_STRING": "size=3"},
        {"QUERY_STRING": ""},
        {"HTTP_HOST": "other.example"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_IF_NONE_MATCH": '"1"'},
        {"CONTENT_LENGTH": "2"},
    ],
)
def test_whatever_may_make_an_answer_differ_goes_the_usual_way(kept, other):
    assert ready.find(LIST | other) is None
    assert ready.find(LIST) is kept


def test_an_answer_ends_with_its_time():
    ready.keep(LIST, Ready(time.monotonic() - 0.001, "products", FIELDS, b"[]"))
    assert ready.find(LIST) is None


def test_outdating_representations_forgets_answers(kept):
    representations.outdate()
    assert ready.find(LIST) is None


def test_no_more_than_so_many_are_kept(kept, monkeypatch):
    monkeypatch.setattr(ready, "MOST", 3)
    for size in range(10):
        ready.keep(LIST | {"QUERY_STRING": f"size={size}"}, kept)
        assert len(ready._kept) <= 3
    assert ready.find(LIST | {"QUERY_STRING": "size=9"}) is kept
