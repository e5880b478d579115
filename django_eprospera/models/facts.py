"""Declaration of the facts that the provider gives about persons and companies. Sync, KYC and the admin read it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from django_eprospera.fields import SealedModel

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["Fact", "FactsModel"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: the model field that holds it, whose `verbose_name` is its label, and how it is used.

    `section` is its heading on admin pages; a fact without one is not shown there by itself. A decision on a subject ends when
    a fact changes that `identifies` it. The review page shows what is `for_review`. `source` is the attribute of the payload,
    if it has another name than the field.
    """

    name: str
    section: _StrPromise | str = ""
    identifies: bool = False
    for_review: bool = True
    source: str = ""


class FactsModel(SealedModel):
    """A model whose rows hold one answer of the provider. Facts are declared in the order in which pages show them."""

    FACTS: ClassVar[tuple[Fact, ...]] = ()

    class Meta:
        abstract = True

    @classmethod
    def fact_names(cls, *, identifies: bool | None = None) -> tuple[str, ...]:
        """Return the names of all facts, or of those that do or do not identify the subject."""
        return tuple(fact.name for fact in cls.FACTS if identifies in (None, fact.identifies))

    @classmethod
    def review_names(cls) -> tuple[str, ...]:
        """Return the names of the facts that the review page shows."""
        return tuple(fact.name for fact in cls.FACTS if fact.section and fact.for_review)

    @classmethod
    def sections(cls) -> tuple[tuple[_StrPromise | str, tuple[str, ...]], ...]:
        """Return headings with the names of the facts below them."""
        shown = [fact for fact in cls.FACTS if fact.section]
        return tuple(
            (title, tuple(fact.name for fact in facts)) for title, facts in groupby(shown, lambda fact: fact.section)
        )
