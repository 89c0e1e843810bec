"""The first requests of a web process come on several threads at once."""

import subprocess
import sys
from pathlib import Path

from shop.testing_shop import ROOT, clean_environment

FIRST_REQUESTS = """
import sys, threading
import django; django.setup()
import prometheus_client
from shop import metrics
sys.setswitchinterval(1e-6)
together = threading.Barrier(16)
def first():
    together.wait()
    metrics.observe(method="GET", route="readyz", status=200, seconds=0.01)
threads = [threading.Thread(target=first) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
text = metrics.collect().decode()
print(next(line for line in text.splitlines() if line.startswith("shop_request_seconds_count")))
"""


def test_first_requests_on_many_threads_are_all_counted(tmp_path: Path) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SHOP_METRICS_DIR": str(tmp_path),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == 'shop_request_seconds_count{method="GET",route="readyz",status="200"} 16.0\n'
