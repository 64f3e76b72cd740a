//! The models and data beside the repository, where a machine has them.

use std::path::{Path, PathBuf};

/// The path of a file in the corpus. `None`, with a line that says so, where it is missing; a failure under CI.
pub fn file(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus").join(name);
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("{name} of the corpus is not here"));
    None
}

/// Says that a test is skipped; under CI (`CI=true`) nothing may be.
pub fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "not skipped under CI: {reason}");
    println!("skipped: {reason}");
}
