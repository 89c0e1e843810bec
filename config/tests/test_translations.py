"""The Korean catalogue says everything the sources say, and the problems of the API speak it."""

import json

import pytest
from babel.messages import Catalog
from django.test import Client
from django.utils import translation

from config import translations
from shop import errors, problems


def test_catalogue_has_every_message_and_no_other() -> None:
    wanted = {(message.id, message.context) for message in translations.wanted() if message.id}
    written = {(message.id, message.context) for message in translations.written() if message.id}
    assert wanted - written == set()
    assert written - wanted == set()


def test_catalogue_has_nothing_missing_fuzzy_or_with_other_placeholders() -> None:
    assert list(translations.faults(translations.written())) == []


def test_faults_are_found() -> None:
    catalog = Catalog(locale="ko")
    catalog.add("one %(count)s", "하나 %(number)s")
    catalog.add("two")
    catalog.add("three", "셋", flags=["fuzzy"])
    assert list(translations.faults(catalog)) == [
        "unknown named placeholder 'number': 'one %(count)s'",
        "missing: 'two'",
        "fuzzy: 'three'",
    ]


def test_making_the_catalogue_again_changes_nothing() -> None:
    assert translations.as_po(translations.merged()) == translations.PO_FILE.read_bytes()


def test_compiled_catalogue_is_that_of_the_sources() -> None:
    assert translations.as_mo(translations.written()) == translations.MO_FILE.read_bytes()


def every_failure() -> list[type[errors.Failure]]:
    kinds = [errors.Failure]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return [kind for kind in kinds if "code" in kind.__dict__]


@pytest.mark.parametrize("kind", every_failure(), ids=lambda kind: kind.code)
def test_every_refusal_has_korean_words(kind: type[errors.Failure]) -> None:
    with translation.override("ko"):
        assert translation.gettext(kind.title) != kind.title
        assert translation.gettext(kind.detail) != kind.detail


@pytest.mark.parametrize(
    ("language", "short", "similar"),
    [
        ("ko", "8자 이상이어야 합니다.", "사용자 이름과 비슷할 수 없습니다."),
        ("en", "Must have at least 8 characters.", "Must not resemble the user name."),
        ("fr, ko;q=0.5", "8자 이상이어야 합니다.", "사용자 이름과 비슷할 수 없습니다."),
    ],
)
@pytest.mark.django_db
def test_a_weak_password_is_explained_in_the_callers_language(language: str, short: str, similar: str) -> None:
    answer = Client().post(
        "/auth/signup",
        json.dumps({"username": "sunny-1", "password": "sunny_1"}),
        content_type="application/json",
        headers={"accept-language": language},
    )
    assert answer.status_code == 400
    details = {item["code"]: item["detail"] for item in answer.json()["errors"]}
    assert details == {"password_too_short": short, "password_too_similar": similar}


def test_a_text_with_a_percent_sign_stays_whole() -> None:
    item = {"pointer": "/x", "code": "y", "detail": "Must be one of: %(words)s.", "values": {"words": "100 %"}}
    with translation.override("en"):
        assert problems.described(item)["detail"] == "Must be one of: 100 %."
