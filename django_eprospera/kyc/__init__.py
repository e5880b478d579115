"""KYC: automatic checks on the cached facts, reviews, and decisions that are never edited. Knows rows, not HTTP."""

from __future__ import annotations

from django_eprospera.kyc.decisions import decide, verify_decision
from django_eprospera.kyc.findings import Finding, Outcome
from django_eprospera.kyc.reviews import evaluate, evaluate_due, status_for, status_for_entity

__all__ = [
    "Finding",
    "Outcome",
    "decide",
    "evaluate",
    "evaluate_due",
    "status_for",
    "status_for_entity",
    "verify_decision",
]
