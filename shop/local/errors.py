"""The one way starting the local shop can fail on purpose."""


class CannotStart(Exception):
    """The shop cannot start here; the message is one line that says why and what to do. `exit_code` as in commands."""

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
