"""Where a domain adds to what the kernel does, without the kernel knowing it."""

from collections.abc import Callable

on_signup: list[Callable[..., None]] = []
"""What a domain does for a new user, in the same transaction: called with `user_id` and `now`."""
