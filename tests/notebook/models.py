"""Rows of every kind that a site may seal: a text key, a number as key, another row's key as key."""

import uuid

from django.db import models

from django_eprospera.fields import (
    BlindIndexField,
    SealedDateField,
    SealedDateTimeField,
    SealedJSONField,
    SealedModel,
    SealedTextField,
    normalise_email,
    normalise_text,
)


class Notebook(SealedModel):
    """One field of each kind."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=50, blank=True)
    owner = SealedTextField(label="notebook.owner", null=True, blank=True)
    owner_index = BlindIndexField(source="owner", label="notebook.owner", normalise=normalise_text)
    email = SealedTextField(label="notebook.email", null=True, blank=True)
    email_index = BlindIndexField(source="email", label="notebook.email", normalise=normalise_email)
    pin = SealedTextField(label="notebook.pin", secret=True, null=True, blank=True)
    day = SealedDateField(label="notebook.day", null=True, blank=True)
    moment = SealedDateTimeField(label="notebook.moment", null=True, blank=True)
    facts = SealedJSONField(label="notebook.facts", null=True, blank=True)


class Page(SealedModel):
    """A key that people choose."""

    slug = models.CharField(primary_key=True, max_length=50)
    notebook = models.ForeignKey(Notebook, models.CASCADE, null=True, related_name="pages")
    text = SealedTextField(label="page.text")


class Cover(models.Model):
    """A key that is another row's, in a model that does not derive from SealedModel."""

    notebook = models.OneToOneField(Notebook, models.CASCADE, primary_key=True)
    motto = SealedTextField(label="cover.motto", null=True)

    def __str__(self) -> str:
        return str(self.pk)
