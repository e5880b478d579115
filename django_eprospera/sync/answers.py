"""What the provider answers about one connection, requested side by side. Reads and writes no facts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from django_eprospera.errors import EprosperaError, TokenError
from django_eprospera.models import ResourceState

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable

    from django_eprospera.models import Connection
    from django_eprospera.sync.fetcher import ResourceFetcher

__all__ = ["Answer", "fetch"]

_RESOURCE = ResourceState.Resource
_OF_COMPANIES: Final = (_RESOURCE.LEGAL_ENTITIES, _RESOURCE.ENTITY_DOCUMENTS)
_METHODS: Final[dict[str, str]] = {
    _RESOURCE.NATURAL_PERSON: "natural_person",
    _RESOURCE.RESIDENCY: "residency",
    _RESOURCE.ID_VERIFICATION: "id_verification",
    _RESOURCE.LEGAL_ENTITIES: "legal_entities",
}
_OF_EACH: Final[dict[str, str]] = {
    _RESOURCE.LEGAL_ENTITIES: "legal_entity",
    _RESOURCE.ENTITY_DOCUMENTS: "legal_entity_documents",
}


@dataclass(slots=True)
class Answer:
    """The answer about one resource, or the error; what was answered about each company, by the company's ID."""

    value: Any = None
    error: EprosperaError | None = None
    of_each: dict[uuid.UUID, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The answer as text, in which only what is stored counts: no signed URL. Empty if any request failed."""
        if self.error is not None or any(isinstance(each, EprosperaError) for each in self.of_each.values()):
            return ""
        companies = sorted((str(key), _plain(each)) for key, each in self.of_each.items())
        return json.dumps([_plain(self.value), companies], ensure_ascii=False, separators=(",", ":"))


def fetch(fetcher: ResourceFetcher, connection: Connection, resources: Collection[str]) -> dict[str, Answer]:
    """Request the resources and return the answers: first those of the person, then those of each company.

    The companies are those in the list that was just answered, else those that the connection shares.
    """
    client = fetcher.client
    first = [resource for resource in resources if resource in _METHODS]
    outcomes = fetcher.each([(getattr(client, _METHODS[resource]),) for resource in first])
    answers = {resource: _answer(outcome) for resource, outcome in zip(first, outcomes, strict=True)}
    of_each = [resource for resource in _OF_COMPANIES if resource in resources]
    listed = answers.get(_RESOURCE.LEGAL_ENTITIES)
    if listed is not None and listed.error is not None:
        of_each.remove(_RESOURCE.LEGAL_ENTITIES)
    if not of_each:
        return answers
    if listed is None or listed.error is not None:
        consents = connection.entity_consents.filter(withdrawn_at=None)
        companies = list(consents.values_list("entity__entity_id", flat=True))
    else:
        companies = sorted(each.id for each in listed.value)
    if listed is not None and listed.error is not None and not companies:
        # Without a list there is none to ask about: their documents are unknown, not absent.
        return answers | {_RESOURCE.ENTITY_DOCUMENTS.value: Answer(error=listed.error)}
    calls = [(resource, company) for company in companies for resource in of_each]
    outcomes = fetcher.each([(getattr(client, _OF_EACH[resource]), company) for resource, company in calls])
    for resource in of_each:
        answers.setdefault(resource, Answer())
    for (resource, company), outcome in zip(calls, outcomes, strict=True):
        answers[resource].of_each[company] = outcome
        if isinstance(outcome, TokenError):  # the other requests met it too
            answers[resource].error = outcome
    return answers


def _answer(outcome: Any) -> Answer:
    return Answer(error=outcome) if isinstance(outcome, EprosperaError) else Answer(outcome)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    names: Iterable[str] | None = getattr(type(value), "__dataclass_fields__", None)
    if names is None:
        return value if value is None or isinstance(value, (str, int, float)) else str(value)
    # The address of a file changes with every answer; whether there is one does not.
    return [
        getattr(value, name) is not None if name.endswith("_url") else _plain(getattr(value, name)) for name in names
    ]
