"""The little of FHIR R4 that the clinic understands (https://hl7.org/fhir/R4/)."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any, NoReturn

LINE_BYTES = 4 * 2**20  # as JSON in ASCII up to three times that: below MariaDB's usual limit

_TYPE = re.compile(r"[A-Za-z]{1,64}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")  # the data type `id`
_PATIENT = re.compile(r"(?:urn:uuid:|(?:.*/)?Patient/)([A-Za-z0-9.-]{1,64})(?:/_history/.*)?")


class BadResource(ValueError):
    """A line that is no resource; the message says why, and shows nothing of it."""


def parse(line: bytes) -> dict[str, Any]:
    """Return the resource that a line of NDJSON holds.

    Raises:
        BadResource: it holds none.
    """
    if len(line) > LINE_BYTES:
        raise BadResource(f"longer than {LINE_BYTES:,} bytes")
    resource = _decode(line)
    if not isinstance(resource, dict):
        raise BadResource("not a JSON object")
    for name, pattern in (("resourceType", _TYPE), ("id", _ID)):
        if name not in resource:
            raise BadResource(f"no {name}")
        if not isinstance(resource[name], str) or not pattern.fullmatch(resource[name]):
            raise BadResource(f"{name} is not one that FHIR allows")
    return resource


def _decode(line: bytes) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        reason = f"not UTF-8, at byte {error.start + 1}"
    else:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            reason = f"not JSON, at character {error.pos + 1}"
        except RecursionError:
            reason = "nested too deeply"
        except ValueError:
            reason = "not JSON: a number that it does not have"
    # Outside of `except`: those errors hold the line.
    raise BadResource(reason)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


def patient_id(resource: dict[str, Any]) -> str:
    """Return the id of the patient that a resource is about, or `""`."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    for name in ("subject", "patient"):
        reference = _text(_dict(resource.get(name)).get("reference"))
        if match := _PATIENT.fullmatch(reference):
            return match[1]
    return ""


def patient_name(patient: dict[str, Any]) -> str:
    """Return the name of a patient as one text: the official one, or else the first."""
    names = [_dict(name) for name in _list(patient.get("name"))]
    official = [name for name in names if name.get("use") == "official"]
    for name in official + names:
        parts = [*_list(name.get("given")), name.get("family")]
        text = _text(name.get("text")) or " ".join(filter(None, map(_text, parts)))
        if text:
            # A JSON text may hold half of a surrogate pair, which UTF-8 has no bytes for.
            return text.encode(errors="replace").decode()[:200]
    return ""


def patient_born(patient: dict[str, Any]) -> date | None:
    """Return the day of birth of a patient, where FHIR has all of it: it may be a year alone."""
    try:
        return date.fromisoformat(_text(patient.get("birthDate")))
    except ValueError:
        return None


def patient_record(patient: dict[str, Any]) -> dict[str, str]:
    """Return what the clinic wants to see of a patient at a glance."""
    facts = {"born": patient.get("birthDate"), "gender": patient.get("gender")}
    return {name: fact for name, fact in facts.items() if isinstance(fact, str)}


def summary(resource: Any) -> str:
    """Return what a resource is about, in a few words, or `""`."""
    resource = _dict(resource)
    if resource.get("resourceType") == "Patient":
        return patient_name(resource)
    concepts = [resource.get(n) for n in ("code", "vaccineCode", "medicationCodeableConcept")]
    for concept in map(_dict, [*concepts, *_list(resource.get("category"))]):
        displays = [_dict(coding).get("display") for coding in _list(concept.get("coding"))]
        if text := next(filter(None, map(_text, [concept.get("text"), *displays])), ""):
            return text
    return ""


# Nothing promises that what is where FHIR has a list is one.


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
