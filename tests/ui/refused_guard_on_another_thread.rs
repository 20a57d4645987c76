//! A guard stays on the thread that began it.

use sesari_db::{ServiceConnection, TenantConnection, UserConnection};

/// What `std::thread::spawn` and multi-threaded executors ask of what they are given.
fn is_send<T: Send>() {}

fn main() {
    is_send::<TenantConnection>();
    is_send::<UserConnection>();
    is_send::<ServiceConnection>();
}
