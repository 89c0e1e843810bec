#!/usr/bin/env python
"""The engineers' door: `python manage.py --help` lists what the shop can do."""

import os
import sys


def data_dir_of(argv: list[str]) -> str | None:
    """Return the value of --data-dir, which decides where settings look for the running shop's services."""
    for position, argument in enumerate(argv):
        if argument == "--data-dir" and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith("--data-dir="):
            return argument.partition("=")[2]
    return None


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if (data_dir := data_dir_of(sys.argv)) is not None:
        os.environ["SHOP_DATA_DIR"] = data_dir
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after --data-dir is known

    from config import env  # noqa: PLC0415 - likewise
    from shop.local import errors, session  # noqa: PLC0415 - likewise

    try:
        env.command = "".join(sys.argv[1:2])
        if sys.argv[1:2] == ["up"] and not {"-h", "--help"} & set(sys.argv):
            session.open_session(env.data_dir(), metrics_port=env.read("SHOP_METRICS_PORT"))
        execute_from_command_line(sys.argv)
    except (env.BadEnvironment, errors.CannotStart) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
