//! A server from the PostgreSQL installed on this machine, in a directory of its own.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::janitor::{Account, Janitor};
use super::server::{self, Started};
use super::url::ServerUrl;
use super::{TestingError, random_hex, variable};

/// Where installations keep their binaries. A `*` stands for the rest of one name.
const PLACES: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/usr/local/pgsql*/bin",
    "/usr/lib/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// What to do when there is no installation.
pub(super) const HOW_TO_INSTALL: &str = "install PostgreSQL 15 or newer, for instance by \
    `apt-get install postgresql` or `brew install postgresql@17`, or set SESARI_TEST_PG_BIN to the \
    directory of its `initdb` and `postgres`";

/// The longest directory in which a server can have its own with a socket in it: the path of that
/// is some forty bytes longer, and may take 103 on every system.
const MAX_PARENT: usize = 60;

/// The directory with `initdb` and `postgres`: what `SESARI_TEST_PG_BIN` names, or the first found.
pub(super) fn find() -> Result<Option<PathBuf>, TestingError> {
    if let Some(dir) = variable("SESARI_TEST_PG_BIN").map(PathBuf::from) {
        return if has_server(&dir) {
            Ok(Some(dir))
        } else {
            Err(TestingError::NoServer(format!(
                "SESARI_TEST_PG_BIN is `{}`, which does not hold `initdb` and `postgres`: set it \
                 to the `bin` directory of a PostgreSQL 15 or newer, or unset it",
                dir.display()
            )))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::split_paths(&path)
        .chain(pg_config())
        .chain(PLACES.iter().flat_map(|place| expand(place)))
        .find(|dir| has_server(dir)))
}

fn has_server(dir: &Path) -> bool {
    dir.is_absolute() && dir.join("initdb").is_file() && dir.join("postgres").is_file()
}

fn pg_config() -> Option<PathBuf> {
    let output =
        Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?.stdout;
    Some(PathBuf::from(String::from_utf8(output).ok()?.trim_end()))
}

/// The directories that match, the highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Vec::new();
    };
    let Some((parent, stem)) = before.rsplit_once('/') else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(stem))
        .collect();
    names.sort_by_cached_key(|name| Reverse(version(name)));
    names.iter().map(|name| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}

/// The numbers in a name: 9.6 comes before 15.
fn version(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Makes and starts a server.
pub(super) fn start(bin: &Path) -> Result<Started, TestingError> {
    let what = || format!("the PostgreSQL in `{}`", bin.display());
    let failed = |detail: String| TestingError::Start { server: what(), detail };
    let account = Account::for_server().map_err(|error| failed(error.to_string()))?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let port = free_port().map_err(|error| failed(error.to_string()))?;
        let password = random_hex::<16>()?;
        let dir = parent_dir(account.is_some()).join(format!("sesari-test-{}", random_hex::<5>()?));
        let arguments: [OsString; 3] =
            [dir.clone().into(), bin.to_owned().into(), port.to_string().into()];
        let script = include_str!("serve.sh");
        let mut janitor = Janitor::start(script, &arguments, &[], account, &password)
            .map_err(|error| failed(error.to_string()))?;

        let url = ServerUrl::new("postgres", &password, "127.0.0.1", port, "postgres");
        let stopped = dir.join("stopped");
        let mut gave_up = || stopped.exists() || !matches!(janitor.ended(), Ok(None));
        match server::wait_until_ready(&url, &mut gave_up) {
            Ok(control) => {
                let (container, copying) = (None, server::BY_FILES);
                return Ok(Started { url, control, janitor, container, copying });
            }
            Err(reason) => {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                // Another process was given the port in the meantime.
                if attempts < 5 && log.contains("could not bind") {
                    continue;
                }
                let last: Vec<&str> = log.lines().rev().take(15).collect();
                let last: String = last.iter().rev().flat_map(|line| ["\n  ", line]).collect();
                return Err(failed(format!("{reason}; its log, in `{}`:{last}", dir.display())));
            }
        }
    }
}

/// A port that is free now.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Where the server's directory goes: where TMPDIR says, or else into memory if there is enough,
/// which makes a clone ten times as fast, or else the usual place for temporary files.
pub(super) fn parent_dir(foreign: bool) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let dir = if variable("TMPDIR").is_none() && has_room(&memory) && suits(&memory, foreign) {
        memory
    } else {
        std::env::temp_dir()
    };
    if suits(&dir, foreign) { dir } else { PathBuf::from("/tmp") }
}

/// Whether the path of a socket is not too long there, and whether another account, `foreign`, can
/// make and remove its own directory.
fn suits(dir: &Path, foreign: bool) -> bool {
    let allows = |dir: &Path, bits: u32| {
        dir.metadata().is_ok_and(|data| data.permissions().mode() & bits == bits)
    };
    let open = allows(dir, 0o3) && dir.ancestors().skip(1).all(|parent| allows(parent, 0o1));
    dir.is_absolute() && dir.as_os_str().len() <= MAX_PARENT && (open || !foreign)
}

/// Whether two gigabytes are free.
fn has_room(dir: &Path) -> bool {
    let output = Command::new("df").arg("-Pk").arg(dir).stderr(Stdio::null()).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let available = String::from_utf8_lossy(&output)
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    available.is_some_and(|kilobytes| kilobytes >= 2 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("9.6") < version("15"));
        assert!(version("postgresql@15") < version("postgresql@17"));
        assert!(version("postgresql") < version("postgresql@9"));
    }
}
