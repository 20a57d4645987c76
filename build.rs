//! `embed_migrations!` does not say which files it read.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
