"""Every test session runs against real engines; they must be there before anything reads the settings."""

from shop.testing_engines import pytest_unconfigure, start_session

__all__ = ["pytest_unconfigure"]

start_session()

pytest_plugins = ["shop.testing_shop", "shop.testing"]
