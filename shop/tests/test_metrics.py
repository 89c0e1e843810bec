"""What the exporter serves: each series once."""

import pytest
from django.utils.module_loading import autodiscover_modules

from shop import metrics


@pytest.mark.django_db
def test_each_gauge_says_under_a_name_of_its_own_whether_it_could_be_read(monkeypatch):
    autodiscover_modules("gauges")

    def broken():
        raise RuntimeError("no answer")

    monkeypatch.setattr(metrics, "gauges", [*metrics.gauges, broken])
    said = [line for line in metrics.collect().decode().splitlines() if line.startswith("shop_gauge_up")]
    names = [line.partition(" ")[0] for line in said]
    assert len(names) == len(set(names)) == len(metrics.gauges)
    assert said[-1] == 'shop_gauge_up{gauge="shop.tests.test_metrics.broken"} 0.0'
