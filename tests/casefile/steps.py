"""What the tests of case files share."""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from django_eprospera.keys import signing_keys
from django_eprospera.testing import factories
from django_eprospera.verify import canonical, directory, local_header, read_keys, signed, verify

ROOT = Path(__file__).parents[2]
KEY, OTHER_KEY = "c2lnbmluZyBrZXkgbnVtYmVyIG9uZSBvZiB0ZXN0cyE=", "c2lnbmluZyBrZXkgbnVtYmVyIHR3byBvZiB0ZXN0cyE="
ALL = ("view_review", "decide_review", "view_personal_data", "export_review")


def staff(*codenames):
    user = factories.user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return get_user_model().objects.get(pk=user.pk)


def download(client, review, purpose="audit", **extra):
    url = reverse("admin:django_eprospera_review_export", args=[review.pk])
    return client.post(url, {"purpose": purpose}, **extra)


def public_key():
    return signing_keys()[0].public["x"]


def checked(tmp_path, content, given=None):
    path = tmp_path / "case.zip"
    path.write_bytes(content)
    return verify(path, given or read_keys(public_key()))


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files):
    """The ZIP of these files, as an exporter writes it."""
    listed = [(name, zlib.crc32(text), len(text)) for name, text in files.items()]
    parts = [part for each, text in zip(listed, files.values(), strict=True) for part in (local_header(*each), text)]
    return b"".join(parts) + directory(listed)


def changed(content, name, change, *, key=None):
    """The case file with a JSON file changed and listed so, signed by somebody who has the site's key, or as it was."""
    files = members(content)
    value = json.loads(files[name])
    files[name] = canonical(change(value) or value)
    manifest = json.loads(files["manifest.json"])
    if name != "manifest.json":
        manifest["files"][name].update(size=len(files[name]), sha256=hashlib.sha256(files[name]).hexdigest())
    files["manifest.json"] = canonical(manifest)
    if key is not None:
        files["manifest.sig"] = key.private.sign(signed(files["manifest.json"])).hex().encode()
    return zipped(files)


def resigned(content, name, change):
    return changed(content, name, change, key=signing_keys()[0])
