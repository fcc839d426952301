"""Writes JSON schemas for kubeconform, strict: a field that nobody knows is refused.

usage: schemas.py TO SWAGGER CRD...

SWAGGER is api/openapi-spec/swagger.json of Kubernetes' own sources: what a real API server of that version says of its kinds.
CRD are files with custom resource definitions. TO is filled with KIND-GROUP-VERSION.json, as kubeconform names them; GROUP is
the group's first word.
"""

import copy
import json
import pathlib
import sys

import yaml

PREFIX = "#/definitions/"
# What the document calls a string and the API server also takes as a number.
NUMBER_TOO = {"int-or-string", "quantity"}
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def strict(schema):
    """Closes every object that names its fields; in place. What stands under anyOf and the like only adds rules."""
    fields = schema.get("properties", {})
    for part in [*fields.values(), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(part, dict):
            strict(part)
    if schema.get("format") in NUMBER_TOO or schema.get("x-kubernetes-int-or-string"):
        schema.pop("format", None)
        schema["type"] = ["string", "number"]
    if fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)


def references(schema):
    """Names of the definitions that a schema refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(PREFIX)
            else:
                yield from references(value)


def closed(name, definitions):
    """The schema with all that it refers to; some refer to themselves, so nothing is written in place."""
    found, left = {}, [name]
    while left:
        one = left.pop()
        if one not in found:
            found[one] = definitions[one]
            left.extend(references(definitions[one]))
    return {"$ref": PREFIX + name, "definitions": found}


def write(to, kind, group, version, schema):
    group = group.split(".")[0]
    suffix = f"{group}-{version}" if group else version
    (to / f"{kind}-{suffix}.json".lower()).write_text(json.dumps(schema))


def of_swagger(to, path):
    definitions = json.loads(path.read_text())["definitions"]
    definitions[QUANTITY]["format"] = "quantity"
    for schema in definitions.values():
        strict(schema)
    for name, schema in definitions.items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        # DeleteOptions and the like belong to every group and are no objects.
        if len(kinds) == 1 and "metadata" in schema.get("properties", {}):
            kind = kinds[0]
            write(to, kind["kind"], kind["group"], kind["version"], closed(name, definitions))


def of_crd(to, crd):
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
        for field in ("apiVersion", "kind"):
            schema["properties"][field] = {"type": "string"}
        schema["properties"]["metadata"] = {"type": "object"}
        strict(schema)
        write(to, spec["names"]["kind"], spec["group"], version["name"], schema)


def main():
    to, swagger, *crds = map(pathlib.Path, sys.argv[1:])
    to.mkdir(parents=True, exist_ok=True)
    of_swagger(to, swagger)
    for path in crds:
        for document in yaml.safe_load_all(path.read_text()):
            if document:
                of_crd(to, document)


if __name__ == "__main__":
    main()
