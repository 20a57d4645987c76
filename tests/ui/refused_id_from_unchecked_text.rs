//! Text is parsed before it is an id.

use sesari_db::id::KpiId;

fn id(text: String) -> KpiId {
    KpiId(text.into_boxed_str())
}

fn main() {}
