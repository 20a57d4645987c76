# What is typed often. `just` lists it.

_list:
    @just --list

# Formats, lints, and checks the documentation.
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --features metrics,testing,tokio

# Every test on the PostgreSQL that is installed.
test:
    cargo test

# The long forms: all seeded defects and holes, so many programs in two worlds, and time zones from 1970.
long programs="2000":
    SESARI_LONG=1 cargo test --test defects
    SESARI_LONG=1 cargo test --test isolation every_hole
    SESARI_LONG={{programs}} cargo test --test two_worlds -- --nocapture no_program
    SESARI_LONG=1 cargo test --test time_series the_servers_days

# As root: a full disk, and a host that is gone.
failures:
    cargo test --test failures -- --ignored --test-threads=1

# Makes the committed tables anew: the schema's manifest, who may do what, what catches each defect. Read the difference.
update:
    SESARI_UPDATE=1 cargo test --lib manifest
    SESARI_UPDATE=1 cargo test --test isolation matrix
    SESARI_UPDATE=1 cargo test --test defects
    SESARI_UPDATE=1 cargo test --test ui

# One bench, such as `just bench peers`.
bench name:
    cargo bench --bench {{name}}

# What a change has to pass, on Debian 12 as root; `just ci lint docs` runs steps, `just ci --list` names them.
ci *steps:
    .ci/run {{steps}}
