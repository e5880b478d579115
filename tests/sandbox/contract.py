"""Validation of responses against the schemas of the provider's contract."""

from __future__ import annotations

import functools
from pathlib import Path

import jsonschema_rs
import yaml


@functools.cache
def document():
    return yaml.safe_load((Path(__file__).parents[1] / "contract" / "openapi.yaml").read_text())


@functools.cache
def validator(name):
    """Return a validator for one schema of the contract, formats included."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def conforms(name, body):
    """Return True. Raises AssertionError with each difference between `body` and the contract."""
    problems = [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator(name).iter_errors(body)
    ]
    assert not problems, problems
    return True
