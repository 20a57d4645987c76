//! Three servers of this test's own. Nothing of them is left behind, however it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use diesel::Connection as _;
use sesari_db::PgConnection;
use sesari_db::testing::{Companion, place_for_a_server};

const TIMEOUT: Duration = Duration::from_mins(2);

/// Servers `A` with TLS, `B` without, and `C`, a standby of `A`.
pub(crate) struct Servers {
    pub(crate) dir: PathBuf,
    ports: [u16; 3],
    /// Certificates and keys as they are in the repository, and keys that only we can read.
    files: PathBuf,
    companions: [Companion; 2],
}

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../vectors/tls/", $name))
    };
}

const FILES: [(&str, &str, u32); 8] = [
    ("ca.crt", vector!("ca.crt"), 0o644),
    ("other.crt", vector!("other.crt"), 0o644),
    ("self.crt", vector!("self.crt"), 0o644),
    ("client.crt", vector!("client.crt"), 0o644),
    ("client.key", vector!("client.key"), 0o600),
    ("open.key", vector!("client.key"), 0o644),
    ("stranger.crt", vector!("stranger.crt"), 0o644),
    ("stranger.key", vector!("stranger.key"), 0o600),
];

impl Servers {
    /// Those that tests which run now share. They go with the last of these.
    pub(crate) fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Servers>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let servers = Arc::new(Self::start());
            *running = Arc::downgrade(&servers);
            servers
        })
    }

    fn start() -> Self {
        let places = [(); 3].map(|()| place_for_a_server().unwrap());
        let ports = [0, 1, 2].map(|at: usize| places[at].2);
        let (bin, parent, _) = &places[0];
        let random =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        let dir = parent.join(format!("sesari-test-{random:016x}"));
        let files = std::env::temp_dir().join(format!("sesari-tls-{random:016x}"));
        let [a, b, c] = ports.map(|port| port.to_string());
        let companion = Companion::start(
            include_str!("serve.sh"),
            &[dir.to_str().unwrap(), bin.to_str().unwrap(), &a, &b, &c],
            &[
                ("CA", vector!("ca.crt")),
                ("SERVER", vector!("server.crt")),
                ("SERVER_KEY", vector!("server.key")),
                ("SELF", vector!("self.crt")),
                ("SELF_KEY", vector!("self.key")),
            ],
        )
        .unwrap();
        // Ours to read alone, and so not the servers': another script removes them.
        let removal = "while read -r _; do :; done; rm -rf \"$1\"";
        let files_text = files.to_str().unwrap();
        let keeper = Companion::start_as_ourselves(removal, &[files_text]).unwrap();
        let mut servers = Self { dir, ports, files, companions: [companion, keeper] };
        servers.write_files();
        servers.await_ready();
        servers
    }

    fn await_ready(&mut self) {
        let start = Instant::now();
        for port in ["$A", "$B", "$C"] {
            let url = self.url(&format!("postgres@127.0.0.1:{port}/postgres?sslmode=disable"));
            while let Err(error) = PgConnection::establish(&url) {
                let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let ended = self.companions[0].has_ended().unwrap();
                assert!(!ended && start.elapsed() < TIMEOUT, "{port}: {error}: {}", log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn write_files(&self) {
        std::fs::create_dir(&self.files).unwrap();
        for (name, content, mode) in FILES {
            let path = self.files.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// A URL with `$A`, `$B` and `$C` for the ports, `$SOCKET` for the directory of the sockets,
    /// `$TLS` for that of the certificates, and `$SCRAM` for a user and its password.
    pub(crate) fn url(&self, url: &str) -> String {
        let [a, b, c] = self.ports.map(|port| port.to_string());
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let url = if url.contains("://") { url.to_owned() } else { format!("postgres://{url}") };
        url.replace("$SCRAM", "scram:pencil%20%40%3a%2F%3f%23%25")
            .replace("$ESCAPED", &text(&self.dir).replace('/', "%2F"))
            .replace("$SOCKET", &text(&self.dir))
            .replace("$TLS", &text(&self.files))
            .replace("$A", &a)
            .replace("$B", &b)
            .replace("$C", &c)
    }

    pub(crate) fn port(&self, name: char) -> String {
        self.url(&format!("postgres://${name}")).rsplit('/').next().unwrap().to_owned()
    }
}
