"""Makes context.json: contexts as an independent implementation signs them.

    python3 make_context.py > context.json
"""

import base64
import hashlib
import hmac
import json

KEYS = {"k1": b"k" * 32, "2026-11": bytes(range(64)), "a_b-c": bytes(range(255, 215, -1))}
CASES = [
    ("a user in a workspace, on a backend", "k1", "u", "ua", "wa", 1_700_000_000_000_000, 42),
    ("the same behind a transaction pooler", "k1", "u", "ua", "wa", 1_700_000_000_000_000, 0),
    ("a signed-in user who has chosen no workspace", "2026-11", "u", "cm3x9k2v10000356kq8z1a2b3", "", 1_764_201_600_123_456, 31337),
    ("a background service in a workspace", "2026-11", "s", "stripe-sync_2", "cm3x9k2v10001356kdeadbeef", 1_764_201_600_123_456, 7),
    ("a background service in none", "a_b-c", "s", "jobs", "", 1_764_201_600_000_000, 0),
]


def vector(about, key, kind, actor, workspace, issued_at, pid):
    signed = ".".join(["1", key, kind, actor, workspace, str(issued_at), str(pid)])
    mac = hmac.new(KEYS[key], signed.encode(), hashlib.sha256).hexdigest()
    return {"about": about, "key": f"{key}:{base64.b64encode(KEYS[key]).decode()}", "kind": kind, "actor": actor,
            "workspace": workspace, "issued_at": str(issued_at), "pid": pid, "context": f"{signed}.{mac}"}


print(json.dumps([vector(*case) for case in CASES], indent=1))
