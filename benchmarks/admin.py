"""Every page of the admin with many people ÷ the same page with few: the pages that tests/test_admin_plans.py opens."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from benchmarks.measure import Row
from tests import test_admin_plans

MOST = 1.5


class Pages(dict):
    """Takes the place of the test's `Plans`: remembers by its name how each page is opened."""

    def of(self, name, opened):
        self[name] = opened
        response = opened()
        assert response.status_code in (200, 302), (name, response.status_code)
        return response


def rows(bench):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # one cookie for all databases
    smallest, *larger = bench.sizes
    bench.use(smallest)
    pages, client, users = Pages(), Client(), get_user_model().objects
    client.user, client.connection = users.get(username="superuser"), users.get(username="prototype").eprospera
    client.force_login(client.user)
    test_admin_plans.open_all(client, pages, depth=1)

    def at(size, opened):
        def open_page():
            bench.use(size)
            opened()

        return open_page

    def shown(size):
        bench.use(size)
        return {name: opened().content.count(b"<tr") for name, opened in pages.items()}

    few = shown(smallest)
    for size in larger:
        # A page that shows more rows costs more.
        same = {name for name, number in shown(size).items() if number == few[name]}
        found = [
            bench.ratio(name, at(size, opened), at(smallest, opened)) for name, opened in pages.items() if name in same
        ]
        within = sum(row.figure <= MOST for row in found)
        what = f"Admin pages that cost ≤ {MOST} × at {size:,} people what they cost at {smallest:,}"
        yield Row(what, within, f"of {len(found)}", len(found), at_least=True)
        dearest = max(found, key=lambda row: row.figure)
        yield Row(f"the dearest of them, {dearest.what[:60]}", dearest.figure, low=dearest.low, high=dearest.high)
