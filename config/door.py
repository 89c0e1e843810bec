"""What an application may say of its requests before a thread has them: who is let in, and what is ready."""

from typing import Any, Protocol


class Door(Protocol):
    """Who is let in (shop.admission.Door); an application may bring one, with a `turn_away` that answers the others."""

    def took(self, waited: float) -> None: ...
    def answered(self, seconds: float) -> None: ...
    def look(self, queued: int, seconds: float) -> None: ...
    def refuses(self, environ: dict[str, Any], queued: int) -> bool: ...
    def needs_no_thread(self) -> None: ...


class OpenDoor:
    """Everybody is let in."""

    def took(self, waited: float) -> None:
        """Nothing depends on it."""

    answered = took

    def look(self, queued: int, seconds: float) -> None:
        """Nothing depends on it."""

    def refuses(self, environ: dict[str, Any], queued: int) -> bool:
        return False

    def needs_no_thread(self) -> None:
        """Nothing depends on it."""


def find_nothing(environ: dict[str, Any]) -> None:
    """An application without answers that are ready."""
