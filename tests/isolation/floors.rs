//! The floors of `ARCHITECTURE.md`: an import points down.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each module, as the table in `ARCHITECTURE.md` says.
fn floors() -> BTreeMap<String, u32> {
    let text = include_str!("../../ARCHITECTURE.md");
    let mut floors = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, floor, _, modules, _] = cells[..] else { continue };
        let Ok(floor) = floor.parse() else { continue };
        for module in modules.split(',') {
            let module = module.trim().trim_matches('`').to_owned();
            assert_eq!(floors.insert(module.clone(), floor), None, "{module} is on two floors");
        }
    }
    floors
}

/// Every Rust file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code without its comments and without the unit tests, which end a file.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join("\n");
    let tests = ["\n#[cfg(test)]\nmod tests {", "\n#[cfg(all(test"];
    let end = tests.iter().filter_map(|mark| code.find(mark)).min().unwrap_or(code.len());
    code[..end].to_owned()
}

/// What follows `prefix`: one name, or each first name of a group in braces.
fn named<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
        if code[..at].ends_with(|c| part_of_a_word(c) || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let first = |text: &'a str| {
            let text = text.trim_start();
            text.find(|c| !part_of_a_word(c)).map_or(text, |end| &text[..end])
        };
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first(rest));
            continue;
        };
        let (mut depth, mut from) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    names.push(first(&group[from..i]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    names.push(first(&group[from..i]));
                    from = i + 1;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The names that `lib.rs` gives out from modules, and the module of each.
fn reexported(lib: &str) -> BTreeMap<&str, &str> {
    let uses = lib.split("pub use ").skip(1).filter_map(|rest| rest.split_once(';'));
    uses.filter_map(|(path, _)| path.split_once("::"))
        .flat_map(|(module, names)| {
            let names = names.trim_matches(['{', '}']).split(',').map(str::trim);
            names.map(move |name| (name, module))
        })
        .collect()
}

#[test]
fn every_import_points_to_a_lower_floor() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = code(&source.join("lib.rs"));
    let (floors, reexported) = (floors(), reexported(&lib));
    let mut faults = Vec::new();
    for line in lib.lines() {
        if let Some((_, module)) = line.split_once("mod ") {
            let module = module.trim_end_matches(';');
            if !floors.contains_key(module) {
                faults.push(format!("{module} is on no floor"));
            }
        }
    }
    let mut found = Vec::new();
    files(&source, &mut found);
    for path in found {
        let inside = path.strip_prefix(&source).unwrap().with_extension("");
        let parts: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        let module = parts[0];
        // The command is a crate of its own, which knows this one from outside.
        if ["lib", "bin"].contains(&module) {
            continue;
        }
        let code = code(&path);
        // As many times `super` as the file is deep lead to the crate's root.
        let up = "super::".repeat(parts.len());
        for name in named(&code, "crate::").into_iter().chain(named(&code, &up)) {
            let imported = *reexported.get(name).unwrap_or(&name);
            if imported == module {
                continue;
            }
            match (floors.get(module), floors.get(imported)) {
                (Some(own), Some(other)) if other < own => {}
                (own, other) => faults.push(format!(
                    "{}: {module} (floor {own:?}) imports {imported} (floor {other:?})",
                    path.strip_prefix(&source).unwrap().display()
                )),
            }
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn paths_are_read_in_every_form() {
    let code = "use crate::{a::{B, C}, d};\nuse crate::e::F;\nfn g() -> crate::H { mycrate::x() }";
    assert_eq!(named(code, "crate::"), ["a", "d", "e", "H"]);
    assert_eq!(named("use super::super::repo::X;", "super::super::"), ["repo"]);
    let lib = "pub use a::B;\npub use c::{D, E};";
    assert_eq!(reexported(lib), [("B", "a"), ("D", "c"), ("E", "c")].into());
}
