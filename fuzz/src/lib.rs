//! What the fuzz targets do, and the simulated world they do it in. `tests/it` has the same files
//! and replays the corpora.

pub mod bodies;
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../tests/it/world/mod.rs"]
pub mod world;
