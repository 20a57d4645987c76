#!/usr/bin/env python3
"""Writes audit.json: a chain of audit entries hashed without sesari-db, from the description in docs/audit.md.

    python3 tests/vectors/make_audit.py

The committed file was made so, with Python's standard library alone. A second run writes the same bytes.
"""

import hashlib
import json
import pathlib

FIELDS = ["workspace_id", "sequence", "microseconds", "id", "actor_kind", "actor_id", "scope", "action",
          "table_name", "row_id", "changes", "transaction_id", "previous_hash"]


def netstring(value):
    data = str(value).encode()
    return str(len(data)).encode() + b":" + data + b","


def chain(workspace, entries):
    previous = "00" * 32
    for number, entry in enumerate(entries, 1):
        entry = {"workspace_id": workspace, "sequence": number, **entry, "previous_hash": previous}
        form = netstring("sesari.audit.v1") + b"".join(netstring(entry[name]) for name in FIELDS)
        previous = hashlib.sha256(form).hexdigest()
        yield {**entry, "hash": previous}


def entry(microseconds, changes, **other):
    return {"microseconds": microseconds, "id": f"c{microseconds % 97}", "actor_kind": "user", "actor_id": "u1",
            "scope": "tenant", "action": "workspace.update", "table_name": "workspaces", "row_id": "wa",
            "changes": changes, "transaction_id": 731, **other}


CHAINS = [
    list(chain("wa", [
        entry(1767225600000000, "{}"),
        entry(1767225600000001, '{"name": {"new": "Zürich \\"1\\", 3:abc,", "old": "日本"}}', actor_id="ü:,"),
        entry(1767225600000007, '{"n": {"new": 1.50}}', row_id="", actor_kind="system", scope="none",
              transaction_id=2**62),
    ])),
    list(chain("", [entry(-62135596800000000, "{}", actor_kind="service", actor_id="billing", scope="service")])),
]

path = pathlib.Path(__file__).with_name("audit.json")
path.write_text(json.dumps(CHAINS, indent=1, ensure_ascii=False) + "\n")
