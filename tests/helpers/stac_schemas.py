"""What is written as STAC against schemas, without a network.

The core is checked by the official schemas of STAC 1.1.0, which pystac brings; what says that it is
1.0.0 is checked as 1.1.0 would have it: of what is written here nothing differs but the version and
the word for a licence that is not named.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

_HERE = Path(__file__).parent / "schemas"
_PROJECTION = "projection-v2.0.0.json"
_EMBEDDINGS = "embeddings-v0.0.1.json"


def check_core(content):
    """Check an item, collection or catalogue against the schemas of STAC."""
    pystac = pytest.importorskip("pystac.validation")
    plain = {**content, "stac_version": "1.1.0", "stac_extensions": []}
    if plain.get("license") == "proprietary":
        plain["license"] = "other"
    pystac.validate_dict(plain)


def check_projection(item):
    """Check the projection extension of an item."""
    _check(_PROJECTION, item["properties"])


def check_embeddings(content):
    """Check the embeddings extension of an item or collection."""
    _check(_EMBEDDINGS, content)


def _check(name, content):
    schema = json.loads((_HERE / name).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(content)
