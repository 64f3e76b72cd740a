//! The Python interpreter that makes test data.

use std::path::PathBuf;
use std::process::Command;

/// The interpreter: `$PYTHON`, else that of the active environment, else `python3`.
pub fn interpreter() -> PathBuf {
    if let Some(python) = std::env::var_os("PYTHON") {
        return PathBuf::from(python);
    }
    match std::env::var_os("VIRTUAL_ENV") {
        Some(environment) => PathBuf::from(environment).join("bin").join("python"),
        None => PathBuf::from("python3"),
    }
}

/// Whether the interpreter has a package.
pub fn has(package: &str) -> bool {
    let import = Command::new(interpreter()).args(["-c", &format!("import {package}")]).output();
    import.is_ok_and(|output| output.status.success())
}
