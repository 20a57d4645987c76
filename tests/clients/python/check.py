"""What docs/clients.md says, through psycopg: prints a line for each thing that holds."""

import json
import os
from datetime import datetime, timedelta, timezone

import psycopg
from sign import MOMENT, SET_CONTEXT, parse_key, sign

given = json.loads(os.environ["SESARI_TEST_PYTHON"])
key = parse_key(given["key"])
workspace, owner, kpi = given["workspace"], given["owner"], given["kpi"]


def context(conn, workspace=workspace, late=0, bound=True):
    now, pid = conn.execute(MOMENT).fetchone()
    return sign(key, "u", owner, workspace, now - late, pid if bound else 0)


def kpis(conn, text):
    """How many KPIs are seen under a context, in a transaction that it is set for alone."""
    with conn.transaction():
        conn.execute(SET_CONTEXT, [text])
        return conn.execute("SELECT count(*) FROM kpis").fetchone()[0]


for vector in given["vectors"]:
    signed = sign(parse_key(vector["key"]), vector["kind"], vector["actor"], vector["workspace"],
                  int(vector["issued_at"]), vector["pid"])
    assert signed == vector["context"], vector["about"]
print("vectors")

with psycopg.connect(given["url"], autocommit=True) as conn, psycopg.connect(given["url"], autocommit=True) as other:
    assert kpis(conn, context(conn)) > 0
    assert kpis(conn, context(conn, bound=False)) > 0
    assert conn.execute("SELECT count(*) FROM kpis").fetchone()[0] == 0, "the context ends with its transaction"
    print("bound to the server's process or to none")
    own = context(conn)
    signed, dot, mac = own.rpartition(".")
    for worthless in [
        context(other),
        context(conn, late=11_000_000),
        context(conn, late=-3_000_000),
        context(conn, workspace=given["other"]["workspace"]),
        signed + dot + mac.upper(),
        signed + dot + mac[:-1] + ("0" if mac[-1] != "0" else "1"),
        own.replace(owner, given["stranger"]),
    ]:
        assert kpis(conn, worthless) == 0, worthless
    print("worthless in any other form")

    with conn.transaction(force_rollback=True):
        conn.execute(SET_CONTEXT, [context(conn)])
        # Python counts microseconds: cut before sending, as the server would round.
        now = datetime.now(timezone.utc)
        sent = now.replace(microsecond=now.microsecond // 1000 * 1000)
        upsert = """INSERT INTO kpi_data_points (kpi_id, timestamp, value, source) VALUES (%s, %s, %s, NULL)
                    ON CONFLICT (workspace_id, kpi_id, timestamp, source) DO UPDATE SET value = excluded.value
                    RETURNING timestamp, source"""
        assert conn.execute(upsert, [kpi, sent, 1]).fetchone() == (sent, "")
        assert conn.execute(upsert, [kpi, sent, 2]).fetchone() == (sent, "")
        found = "SELECT value FROM kpi_data_points WHERE kpi_id = %s AND timestamp = %s"
        assert conn.execute(found, [kpi, sent]).fetchall() == [(2.0,)]
        fine = sent + timedelta(microseconds=700)
        (rounded,) = conn.execute(
            "INSERT INTO kpi_data_points (kpi_id, timestamp, value) VALUES (%s, %s, 3) RETURNING timestamp",
            [kpi, fine]).fetchone()
        assert rounded == sent + timedelta(milliseconds=1)
    print("a point's key comes back as it was sent")
