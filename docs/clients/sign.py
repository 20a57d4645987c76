"""Signs a context for sesari.context. docs/clients.md says what it is made of."""

import base64
import hashlib
import hmac
import re
from typing import NamedTuple


class Key(NamedTuple):
    id: str
    secret: bytes


def parse_key(text: str) -> Key:
    """Reads "<id>:<base64>", as SESARI_CONTEXT_KEYS has it. The secret is what the base64 stands for."""
    id, colon, encoded = text.partition(":")
    if not colon or not re.fullmatch("[a-z0-9][a-z0-9_-]{0,31}", id):
        raise ValueError("expected <id>:<base64>")
    secret = base64.b64decode(encoded, validate=True)
    if not 32 <= len(secret) <= 64:
        raise ValueError("a context key has 32 to 64 bytes")
    return Key(id, secret)


def sign(key: Key, kind: str, actor: str, workspace: str, issued_at: int, pid: int) -> str:
    """The context of a user ("u") or a background service ("s") in a workspace, or in none: "".

    issued_at is the server's time in microseconds since 1970. pid is that of the server's process which the
    transaction runs in; 0 binds the context to none.
    """
    for part in (actor, workspace):
        if not re.fullmatch("[a-z0-9_-]*", part):
            raise ValueError("an id has no other characters than a-z, 0-9, _ and -")
    signed = f"1.{key.id}.{kind}.{actor}.{workspace}.{issued_at}.{pid}"
    return f"{signed}.{hmac.new(key.secret, signed.encode(), hashlib.sha256).hexdigest()}"


# The server's time and process, asked on the connection that the transaction will run on.
MOMENT = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_backend_pid()"

# Sets the context, for the transaction that is open.
SET_CONTEXT = "SELECT set_config('sesari.context', %s, true)"
