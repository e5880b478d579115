"""What a process loads with `django.setup()`."""

import subprocess
import sys

START = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
        "django.contrib.sessions", "social_django", "django_eprospera",
    ],
    SECRET_KEY="x", FIELD_ENCRYPTION_KEY="cUqDoJ9ZB4ReeBRH2nVGZ1mCnwRN1qyKyrePGSIKhNk=",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}}, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
print(*sys.modules)
"""
# What decodes pictures, what the sandbox makes documents with, and what tests need.
HEAVY = {
    "PIL",
    "django_eprospera.sandbox",
    "django_eprospera.testing",
    "fpdf",
    "jwcrypto",
    "celery",
    "django.test.client",
}


def test_a_process_starts_without_what_few_of_them_need():
    loaded = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True).stdout.split()
    assert "django_eprospera.receivers" in loaded
    assert not HEAVY & set(loaded)
