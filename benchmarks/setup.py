"""`django.setup()` with the app ÷ without it: processes that do nothing else."""

import subprocess
import sys

APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
        "django.contrib.sessions", "social_django"]  # fmt: skip
START = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS={apps!r}, SECRET_KEY="x", FIELD_ENCRYPTION_KEY="cUqDoJ9ZB4ReeBRH2nVGZ1mCnwRN1qyKyrePGSIKhNk=",
    DATABASES={{"default": {{"ENGINE": "django.db.backends.postgresql"}}}}, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
"""


def rows(bench):
    def start(*apps):
        code = START.format(apps=[*APPS, *apps])
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    yield bench.ratio(
        "django.setup() with the app ÷ with social_django alone", start("django_eprospera"), start(), goal=1.2
    )
