"""Rate and pause of the requests to the provider, for all processes and hosts."""

from __future__ import annotations

from django.db import models

__all__ = ["Pace"]


class Pace(models.Model):
    """One row per provider, which the module `pace` reads and writes. Times are seconds since 1970 by the database's clock."""

    issuer = models.CharField(primary_key=True, max_length=255)
    # When the bucket of EPROSPERA_RATE is full again.
    next_at = models.FloatField(default=0)
    # Until then nobody sends, and afterwards one process until a request succeeds; null: no pause.
    paused_until = models.FloatField(null=True)
    # Pauses in a row; the next one is longer.
    pauses = models.PositiveSmallIntegerField(default=0)
    cause = models.CharField(max_length=64, blank=True)
    # Until then one process has the right to send the request that decides whether the pause ends.
    probe_until = models.FloatField(null=True)
    # Of how many different connections in a row nothing could be fetched, and the last of them.
    failures = models.PositiveSmallIntegerField(default=0)
    last_failed = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = verbose_name_plural = "pace"

    def __str__(self) -> str:
        return self.issuer
