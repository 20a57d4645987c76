//! COPY, large objects, and the files of the server.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("a copy to the client", Batch, Runs, "COPY kpis TO STDOUT"),
    attack!(
        "a copy to a file",
        Statement,
        Refused("permission denied to COPY|must be superuser or have privileges"),
        "COPY kpis TO '/tmp/kpis'"
    ),
    attack!(
        "a copy to a program",
        Statement,
        Refused("permission denied to COPY|must be superuser or have privileges"),
        "COPY kpis TO PROGRAM 'cat'"
    ),
    attack!(
        "a copy from the client",
        Statement,
        Refused("COPY FROM not supported with row-level security"),
        "COPY kpis FROM STDIN"
    ),
    attack!("a copy from a file", Statement, Refused(""), "COPY kpis FROM '/etc/passwd'"),
    attack!(
        "a file of the server",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_read_file('PG_VERSION')"
    ),
    attack!(
        "a directory of the server",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_ls_dir('.')"
    ),
    attack!(
        "a file as a large object",
        Statement,
        Refused("permission denied for function"),
        "SELECT lo_import('/etc/passwd')"
    ),
    attack!(
        "a large object of what WHERE sees",
        Batch,
        Runs,
        "SELECT count(*) FROM kpis WHERE lo_from_bytea(0, name::bytea) > 0;
         DO $$ BEGIN IF EXISTS (SELECT FROM pg_largeobject_metadata AS m,
             LATERAL (SELECT convert_from(lo_get(m.oid), 'UTF8') AS t) AS x
             WHERE t ILIKE '%globex%') THEN RAISE 'globex'; END IF; END $$"
    ),
    attack!(
        "a copy of what B has",
        Batch,
        Runs,
        "COPY (SELECT * FROM kpis WHERE workspace_id = '{b}') TO STDOUT"
    ),
    attack!(
        "a copy that changes",
        Batch,
        Runs,
        "COPY (UPDATE kpis SET name = 'stolen' WHERE workspace_id = '{b}' RETURNING *) TO STDOUT"
    ),
    attack!(
        "a copy from a program",
        Statement,
        Refused(
            "permission denied to COPY|must be superuser or have privileges|COPY FROM not supported"
        ),
        "COPY goals (title) FROM PROGRAM 'id'"
    ),
    attack!(
        "a binary copy from the client",
        Statement,
        Refused("COPY FROM not supported with row-level security"),
        "COPY kpi_data_points FROM STDIN (FORMAT binary)"
    ),
    attack!(
        "a large object to a file",
        Statement,
        Refused("permission denied for function"),
        "SELECT lo_export(1, '/tmp/lo')"
    ),
    attack!(
        "the files of the log",
        Statement,
        Refused("permission denied for function"),
        "SELECT * FROM pg_ls_logdir()"
    ),
    attack!(
        "the files of the write-ahead log",
        Statement,
        Refused("permission denied for function"),
        "SELECT * FROM pg_ls_waldir()"
    ),
    attack!(
        "whether a file is there",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_stat_file('postgresql.conf')"
    ),
    attack!(
        "a file in bytes",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_read_binary_file('PG_VERSION')"
    ),
    attack!(
        "which file the log is",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_current_logfile()"
    ),
    attack!(
        "a file written",
        Statement,
        Refused("does not exist"),
        "SELECT pg_file_write('x', 'x', false)"
    ),
    attack!(
        "the large objects of others",
        Batch,
        Runs,
        "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
         BEGIN PERFORM lo_put(o, 0, 'x'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$"
    ),
    attack!(
        "large objects, by their table",
        Statement,
        Refused("permission denied for table"),
        "SELECT * FROM pg_largeobject"
    ),
];
