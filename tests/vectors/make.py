#!/usr/bin/env python3
"""Writes credentials.json: envelopes made without sesari-db, from the description in src/credentials.rs.

    pip install cryptography==48.0.0
    python3 tests/vectors/make.py

The committed file was made so, with Python 3.11.7 on OpenSSL. Every input is fixed: a second run
writes the same bytes. Nothing here is a secret.
"""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def fields(*parts):
    return b"".join(struct.pack(">Q", len(part)) + part for part in map(str.encode, parts))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bytes_from(label, length):
    return hashlib.shake_256(label.encode()).digest(length)


def vector(name, plaintext, key_id="k1", workspace="wa", integration="ia", provider="stripe",
           table="integrations", column="credentials"):
    key = bytes_from(f"key {name}", 32)
    salt = bytes_from(f"salt {name}", 32)
    nonce = bytes_from(f"nonce {name}", 12)
    info = fields("sesari.credentials.v1.aes-256-gcm", workspace)
    derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)
    aad = fields("v1", key_id, workspace, table, column, integration, provider)
    sealed = AESGCM(derived).encrypt(nonce, plaintext, aad)
    return {
        "name": name,
        "key": base64.b64encode(key).decode(),
        "key_id": key_id,
        "salt": base64.b64encode(salt).decode(),
        "workspace": workspace,
        "table": table,
        "column": column,
        "integration": integration,
        "provider": provider,
        "plaintext": base64.b64encode(plaintext).decode(),
        "envelope": f"v1.{key_id}.{base64url(nonce)}.{base64url(sealed)}",
    }


VECTORS = [
    vector("text", b"sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    vector("empty", b""),
    vector("one byte", b"\0"),
    vector("one block", bytes(range(16))),
    vector("one block and a byte", bytes(range(17))),
    vector("json", '{"refresh_token":"1//0g\\u00e9","scope":"été ✓"}'.encode(), provider="google_analytics"),
    vector("every byte", bytes(range(256)), provider="sheets"),
    vector("longest names", b"secret", key_id="0123456789abcdef-_0123456789abcd", workspace="w" * 32,
           integration="i" * 32),
    vector("another column", b"secret", table="webhooks", column="signing_secret"),
    vector("a newer provider", b"secret", provider="a provider of tomorrow"),
    vector("five kilobytes", bytes_from("five kilobytes", 5000)),
]

path = pathlib.Path(__file__).with_name("credentials.json")
path.write_text(json.dumps(VECTORS, indent=1) + "\n")
