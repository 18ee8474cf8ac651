"""The openspf test suite for RFC 7208, which Debian's python3-spf brings along, as JSON on stdout.

usage: vectors.py FILE

A list of scenarios: {"description", "zone": {name: [[TYPE, value] or "TIMEOUT", ...]}, "tests":
{name: {"helo", "host", "mailfrom", "results": [...]}}}. Texts are lists of their character strings,
each octet as the character of that number.
"""
import gzip
import json
import sys

import yaml


def text(value):
    parts = value if isinstance(value, list) else [value]
    return [str(part).encode("utf-8").decode("latin-1") for part in parts]


def records(rows):
    """A record of the type SPF stands for one of TXT, where none says otherwise."""
    rows = [row if row == "TIMEOUT" else next(iter(row.items())) for row in rows]
    has_txt = any(row != "TIMEOUT" and row[0] == "TXT" for row in rows)
    for row in rows:
        if row == "TIMEOUT":
            yield row
        elif row[0] == "SPF":
            if not has_txt:
                yield ["TXT", row[1] if row[1] == "TIMEOUT" else text(row[1])]
        elif row[0] == "TXT":
            if row[1] != "NONE":
                yield ["TXT", row[1] if row[1] == "TIMEOUT" else text(row[1])]
        else:
            yield list(row)


def main():
    opened = gzip.open if sys.argv[1].endswith(".gz") else open
    with opened(sys.argv[1], "rb") as file:
        scenarios = list(yaml.safe_load_all(file))
    out = []
    for scenario in scenarios:
        zone = {name.lower(): list(records(rows)) for name, rows in scenario["zonedata"].items()}
        tests = {}
        for name, test in scenario["tests"].items():
            results = test["result"] if isinstance(test["result"], list) else [test["result"]]
            tests[name] = {key: str(test[key]) for key in ("helo", "host", "mailfrom")}
            tests[name]["results"] = results
        out.append({"description": scenario["description"], "zone": zone, "tests": tests})
    json.dump(out, sys.stdout)


main()
