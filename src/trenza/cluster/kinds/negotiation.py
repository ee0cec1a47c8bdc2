"""In which form a client wants its answer, read from its Accept header. We write JSON only."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from trenza.cluster.kinds.status import not_acceptable

_JSON = ("application/json", "application/*", "*/*", "")
_META_VERSIONS = ("v1", "v1beta1")


class Form(StrEnum):
    """The object itself, a table of rows for people, or its metadata alone."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


def wanted_form(accept: str) -> Form:
    """The first form offered that we write; lists of metadata count as METADATA. Raises a 406."""
    for media, parameters in _offers(accept):
        if media not in _JSON:
            continue
        match parameters.get("as"):
            case None:
                return Form.OBJECT
            case "Table" if _meta(parameters):
                return Form.TABLE
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if _meta(parameters):
                return Form.METADATA
            case _:
                pass
    raise not_acceptable()


def aggregated_discovery(accept: str) -> str | None:
    """`v2` or `v2beta1` if the client would rather have that than the old discovery documents, else None."""
    for media, parameters in _offers(accept):
        if media not in _JSON:
            continue
        if parameters.get("as") is None:
            return None
        if (parameters["as"], parameters.get("g")) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io"):
            version = parameters.get("v", "")
            if version in ("v2", "v2beta1"):
                return version
    return None


def discovery_media_type(version: str) -> str:
    """The Content-Type of an aggregated discovery document; a client takes it for an old one by any other name."""
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def warning_header(text: str) -> str:
    """The value of a Warning header that kubectl shows to the person."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{"".join(letter if letter.isprintable() else " " for letter in escaped)}"'


def _meta(parameters: dict[str, str]) -> bool:
    return parameters.get("g") == "meta.k8s.io" and parameters.get("v") in _META_VERSIONS


def _offers(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for offer in accept.split(","):
        media, *parameters = (part.strip() for part in offer.split(";"))
        yield media, {name.strip(): value.strip() for name, _, value in (one.partition("=") for one in parameters)}
