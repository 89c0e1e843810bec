"""
gunicorn for the shop: `gunicorn -c config/gunicorn.py config.wsgi:application`, here as in `up` and in a container.

Database connections of the web = workers x threads. What may wait is bounded by admission inside the shop, not here.
"""

from gunicorn.arbiter import Arbiter

from config import env

wsgi_app = "config.wsgi:application"
worker_class = "config.worker.Worker"  # ours: docs/decisions/0011
workers = env.read("SHOP_WEB_PROCESSES")
threads = env.read("SHOP_WEB_THREADS")
# Kept-alive sockets cost no thread, and all clients may land on one process; past this number it stops accepting. A
# rush of 10,000 customers must all get in: with 2,000 the last 4,000 of them waited until others hung up.
worker_connections = 10_000
# Longer than clients and balancers keep theirs: closing first resets requests that are already on their way.
keepalive = 75
# A burst of new connections must not be dropped (a dropped SYN costs its client a second). Requests do not queue here:
# the worker accepts at once and the queue stands before its threads, where admission measures and sheds it.
backlog = 4_096
timeout = 30  # of a process that stopped answering; requests are bounded by the database's and Redis's time limits
graceful_timeout = 5  # a request may take 5 s: every wait inside it is bounded
max_requests = 0  # recycling processes resets connections
preload_app = False
accesslog = None  # shop.middleware writes one line per request
errorlog = "-"
forwarded_allow_ips = ""  # whether a proxy is believed is for the settings to say (SHOP_TRUSTED_PROXY)
control_socket_disable = True  # fails on read-only file systems


def on_starting(server: Arbiter) -> None:
    """Refuse `--preload`: forked from a loaded parent, now and then a process never hears a request or a signal."""
    if server.cfg.preload_app:
        raise SystemExit("this shop's web runs without --preload (docs/decisions/0011): each process loads it afresh")
