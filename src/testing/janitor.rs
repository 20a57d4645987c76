//! What cleans up after a run. Neither a destructor nor a signal handler runs when a process is
//! killed, so the cleaning is done by a child: a shell that reads from a pipe this process holds
//! open and never writes to again. However this process goes, the kernel closes the pipe.
//!
//! The child has a process group of its own, so that a Ctrl-C meant for the test run does not
//! reach it, and none of the run's own output pipes, so that nobody waits for it.
//! Guarded by `tests/operations/testing.rs`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// An account of this machine, as in `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account to run a server as: `None`, our own, unless that is root's, which PostgreSQL
    /// refuses; then `postgres`, or else `nobody`.
    pub(super) fn for_server() -> io::Result<Option<Self>> {
        let id = Command::new("id").arg("-u").stderr(Stdio::null()).output()?;
        if id.stdout.trim_ascii() != b"0" {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::parse(&passwd, name))
            .map(Some)
            .ok_or_else(|| io::Error::other("neither `postgres` nor `nobody` is in /etc/passwd"))
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(Self { uid, gid })
        })
    }
}

/// A shell that does its work once this value is dropped or its process has ended. Nobody waits for
/// it.
pub(super) struct Janitor(Child);

impl Janitor {
    /// Starts `sh` with the script, its arguments and environment, as `account`, and writes `line`
    /// to its standard input.
    pub(super) fn start<A: AsRef<OsStr>>(
        script: &str,
        arguments: &[A],
        environment: &[(&str, &str)],
        account: Option<Account>,
        line: &str,
    ) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "sesari-test-janitor"])
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(Account { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
        let mut janitor = Self(command.spawn()?);
        janitor.tell(line)?;
        Ok(janitor)
    }

    /// Writes a line to its standard input.
    pub(super) fn tell(&mut self, line: &str) -> io::Result<()> {
        match self.0.stdin.as_mut() {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Ok(()),
        }
    }

    /// How the shell ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgresql:x:1:1::/:\n\
                      postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(Account::parse(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(Account::parse(passwd, "nobody"), None);
    }
}
