"""Selecting what is due: the part of `eprospera_sync --due` that runs every few minutes, whoever is due."""

from django.utils import timezone

from benchmarks.measure import Row
from django_eprospera.sync.schedule import due


def rows(bench):
    for size in bench.sizes:
        bench.use(size)
        seconds = bench.median(lambda: list(due(timezone.now()).values_list("pk", flat=True)[:100]))
        yield Row(f"Selecting 100 of what is due, {size:,} connections", 1_000 * seconds, "ms", 10)
