"""Unit tests of the charts: values -> `helm template` -> what must stand in the objects.

usage: run.py HELM [PART OF A CASE'S NAME]

Each tests/*.yaml has `chart` and `cases`. A case has a `name` and may have
  release, namespace   otherwise `test` and `openarchive-system`
  values               as in a values file
  apis                 kinds that the cluster has: GROUP/VERSION/KIND
  refused              texts that Helm's error has; then nothing else is looked at
  notes, not-in-notes  texts that NOTES has, and has not
  objects              every object that comes, as KIND/NAME or KIND/NAMESPACE/NAME: no more and no fewer
  expect               a list of {of: KIND or KIND/NAME, at: path} and one of
                         is: value      equal
                         has: value     a list with that element, a map with these entries, a text with that text
                         file: pattern  equal to what stands in the one such file of the chart, at `in` or at the same path
                         absent: true   nothing is there
Keys of a path stand between dots, positions in brackets; a key with dots in it in brackets and quotes: a.b[0]["c.d/e"].
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).parent
STEP = re.compile(r'\.?([^.\[\]]+)|\[(\d+)\]|\["([^"]+)"\]')
ABSENT = object()
# `helm template` does not render NOTES.txt, and what renders it wants a cluster: here it becomes an object.
NOTES = """{{ define "test.notes" }}%s{{ end }}
kind: Notes
apiVersion: v1
metadata: {name: notes}
text: {{ include "test.notes" . | quote }}
"""


def template(helm, chart, case, work):
    copy = work / chart
    shutil.copytree(HERE.parent / chart, copy)
    notes = copy / "templates" / "NOTES.txt"
    (copy / "templates" / "notes.yaml").write_text(NOTES % notes.read_text())
    notes.unlink()
    values = work / "values.yaml"
    values.write_text(yaml.safe_dump(case.get("values", {})))
    command = [helm, "template", case.get("release", "test"), str(copy), "--values", str(values)]
    command += ["--namespace", case.get("namespace", "openarchive-system")]
    for api in case.get("apis", []):
        command += ["--api-versions", api]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def at(value, path):
    end = 0
    for step in STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
        word, position, quoted = step.groups()
        try:
            value = value[int(position)] if position else value[word or quoted]
        except (KeyError, IndexError, TypeError):
            value = ABSENT
    if end != len(path):
        raise ValueError(f"{path!r} is no path: see the head of run.py")
    return value


def has(found, wanted):
    if isinstance(found, dict):
        return all(key in found and found[key] == value for key, value in wanted.items())
    return isinstance(found, (list, str)) and wanted in found


def judge(found, expected, chart):
    """None, or what is wrong."""
    if "absent" in expected:
        return None if found is ABSENT else f"is there: {found!r}"
    if found is ABSENT:
        return "is not there"
    if "file" in expected:
        [path] = (HERE.parent / chart).glob(expected["file"])
        file = yaml.safe_load(path.read_text())
        return None if found == at(file, expected.get("in", expected["at"])) else f"is not as in {expected['file']}"
    if "is" in expected:
        return None if found == expected["is"] else f"is {found!r}, not {expected['is']!r}"
    return None if has(found, expected["has"]) else f"has no {expected['has']!r}: {found!r}"


def label(thing):
    meta = thing["metadata"]
    return "/".join(part for part in (thing["kind"], meta.get("namespace"), meta["name"]) if part)


def faults_of(chart, case, result):
    if "refused" in case:
        if result.returncode == 0:
            return ["Helm took it"]
        return [f"Helm's error has no {text!r}: {result.stderr}" for text in case["refused"] if text not in result.stderr]
    if result.returncode != 0:
        return [f"Helm refused it: {result.stderr}"]
    everything = [thing for thing in yaml.safe_load_all(result.stdout) if thing]
    notes = next(thing["text"] for thing in everything if thing["kind"] == "Notes")
    things = [thing for thing in everything if thing["kind"] != "Notes"]
    faults = [f"NOTES has no {text!r}" for text in case.get("notes", []) if text not in notes]
    faults += [f"NOTES has {text!r}" for text in case.get("not-in-notes", []) if text in notes]
    labels = sorted(label(thing) for thing in things)
    if "objects" in case and labels != sorted(case["objects"]):
        faults.append(f"the objects are {labels}")
    for expected in case.get("expect", []):
        kind, _, name = expected["of"].partition("/")
        found = [t for t in things if t["kind"] == kind and name in ("", t["metadata"]["name"])]
        if len(found) != 1:
            faults.append(f"{len(found)} objects are {expected['of']}")
        elif wrong := judge(at(found[0], expected["at"]), expected, chart):
            faults.append(f"{expected['of']} {expected['at']} {wrong}")
    return faults


def main():
    helm, part = sys.argv[1], (sys.argv[2:] or [""])[0]
    ran, failed = 0, 0
    for path in sorted(HERE.glob("*.yaml")):
        table = yaml.safe_load(path.read_text())
        for case in (case for case in table["cases"] if part in case["name"]):
            with tempfile.TemporaryDirectory() as work:
                result = template(helm, table["chart"], case, pathlib.Path(work))
            faults = faults_of(table["chart"], case, result)
            ran += 1
            failed += bool(faults)
            for fault in faults:
                print(f"charts: {table['chart']}: {case['name']}: {fault}", file=sys.stderr)
    print(f"charts: {ran - failed} of {ran} cases pass")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
