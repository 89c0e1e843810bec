"""One JSON line per event on stderr; control characters are escaped, so no request can forge a line."""

import json
import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import orjson
import structlog
from django.conf import settings


def _as_json(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    try:
        text = orjson.dumps(event, default=repr).decode()
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits: the event must not be lost for it
        text = json.dumps(event, default=repr)
    return (
        text if text.isprintable() else "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    )


def _escaped(letter: str) -> str:
    """Return a character that JSON allows bare and terminals obey (C1 controls, line separators, bidi marks)."""
    return json.dumps(letter)[1:-1]


class _Stderr:
    """Standard error, whose reader or disk may be gone: a line that cannot be written must not end who wrote it."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def set_up() -> None:
    """Send structlog and the standard library to stderr, one JSON object a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    level = logging.getLevelNamesMapping().get(settings.LOG_LEVEL, logging.INFO)
    structlog.configure(
        processors=[*shared, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Line and end in one write: two could be torn apart.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_json],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name, lowest in {"django.request": logging.ERROR, "django.security.DisallowedHost": logging.CRITICAL}.items():
        logging.getLogger(name).setLevel(lowest)  # 4xx are answers, not events
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a wake-up every few milliseconds is not news
