"""Access rules for gates, evaluated on locally cached data. Everything that is not allowed is refused.

`evaluate` compares a user with a `Policy`; the other functions do it with a policy of one rule.

Withdrawn consent closes a gate at once: a grant that the provider ended, a scope that is no longer granted, a company that is
no longer shared. So does a change of EPROSPERA_BASE_URL or of the client ID. Facts do not close a gate by being old, unless the
policy has a `max_age`, nor a grant by ending for a technical reason; the facts themselves do, such as the end of a residency.
"""

from django_eprospera.access.answers import Access, AccessRefused
from django_eprospera.access.rules import Policy, connection, entity, entity_kyc, evaluate, kyc, residency

__all__ = ["Access", "AccessRefused", "Policy", "connection", "entity", "entity_kyc", "evaluate", "kyc", "residency"]
