//! What must not compile, does not, and the compiler says why.
//!
//! Each file in `tests/ui` that begins with `refused_` breaks one rule; the message expected stands
//! beside it. After a change of compiler or of names: `SESARI_UPDATE=1 cargo test --test ui`, then read
//! the difference. The files are compiled against the library that this test was built with, so nothing
//! is built twice.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles: the refused files differ from it in the rule that they break.
#[allow(dead_code, reason = "it is there to be compiled")]
mod a_guard_used_as_meant;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the compiler says at the end, of all files alike.
const SUMMARY: [&str; 3] = ["error: aborting", "For more information", "Some errors have detailed"];

/// The library as Cargo built it for the tests, or builds it where another choice of features was tested.
fn library() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--test", "ui", "--no-run", "--message-format=json", "--offline"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let artifact = messages
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|message| {
            message["target"]["name"] == "sesari_db" && message["target"]["kind"][0] == "lib"
        })
        .unwrap();
    artifact["filenames"][0].as_str().unwrap().into()
}

/// What the compiler says to a file, or `None` if it takes it.
fn refusal(library: &Path, file: &Path) -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "-Aunused"])
        .arg(format!("--extern=sesari_db={}", library.display()))
        .arg(format!(
            "-Ldependency={}",
            std::env::current_exe().unwrap().parent().unwrap().display()
        ))
        .args(["--diagnostic-width=140", "--out-dir", env!("CARGO_TARGET_TMPDIR")])
        .arg(file)
        .current_dir(ROOT)
        .output()
        .unwrap();
    (!output.status.success()).then(|| shown(&String::from_utf8(output.stderr).unwrap()))
}

/// What does not change with the place of what it shows outside of `tests/ui`, nor with this machine.
fn shown(message: &str) -> String {
    let (mut shown, mut is_ours) = (String::new(), true);
    for line in message.replace(&format!("{ROOT}/"), "").lines() {
        if SUMMARY.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let bare = line.trim_start();
        let rest = bare.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = if is_ours { &bare[..bare.len() - rest.len()] } else { "" };
        if let Some((arrow @ ("-->" | ":::"), place)) = bare.split_once(' ') {
            is_ours = place.starts_with("tests/ui/");
            let file = place.split(':').next().unwrap_or(place);
            let file = file.split_once("/library/").map_or(file, |(_, file)| file);
            let _ = writeln!(shown, "  {arrow} {}", if is_ours { place } else { file });
        } else if rest.starts_with([' ', '|', '=', '.']) {
            let rest = rest.strip_prefix(' ').unwrap_or(rest).trim_end();
            let _ = writeln!(shown, "{number:>2} {rest}");
        } else {
            let _ = writeln!(shown, "{}", line.trim_end());
        }
    }
    shown.trim_end().to_owned() + "\n"
}

#[test]
fn what_must_not_compile_does_not() {
    let library = library();
    let directory = Path::new(ROOT).join("tests/ui");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            name.starts_with("refused_")
                && Path::new(name).extension().is_some_and(|extension| extension == "rs")
        })
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    let mut wrong = String::new();
    for name in names {
        let file = Path::new("tests/ui").join(name);
        let expected = Path::new(ROOT).join(&file).with_extension("stderr");
        let Some(message) = refusal(&library, &file) else {
            let _ = writeln!(wrong, "{} compiles", file.display());
            continue;
        };
        // Refused for want of the library proves nothing.
        assert!(!message.contains("error[E0463]"), "{message}");
        if std::env::var_os("SESARI_UPDATE").is_some() {
            std::fs::write(&expected, &message).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if message != expected {
            let _ = writeln!(wrong, "{}\nexpected:\n{expected}\ngot:\n{message}", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
