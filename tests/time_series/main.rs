//! Data points, their rollups and what is made of them.

#[path = "../support/mod.rs"]
mod support;

mod import;
mod memory;
mod pace;
mod packing;
mod points;
mod progress;
mod series;
mod upkeep;
