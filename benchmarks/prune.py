"""`eprospera_prune` where there is nothing to erase."""

from benchmarks.measure import Row, queries, spent
from django_eprospera.prune import Pruned, prune


def rows(bench):
    for size in bench.sizes:
        bench.use(size)
        prune()  # what an earlier run of the benchmarks has left

        def nothing():
            assert prune() == Pruned()

        yield Row(f"Prune with nothing to erase, {size:,} people", queries(nothing), "queries", 20)
        yield Row("the same: CPU", spent(nothing), "s")
