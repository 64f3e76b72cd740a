//! Finding the shared library of ONNX Runtime, by looking at the file system only.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names the library.
pub(super) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The library to load: what the variable names, whether or not it exists, else the active Python environment's.
pub(super) fn library() -> Option<PathBuf> {
    match env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Some(absolute(PathBuf::from(path))),
        None => python_environments().iter().find_map(|prefix| in_environment(prefix)),
    }
}

/// The loader resolves relative paths against the program's folder; a user means the current one.
fn absolute(path: PathBuf) -> PathBuf {
    // A bare name is left to the system's search path.
    match path.components().count() {
        1 if !path.exists() => path,
        _ => std::path::absolute(&path).unwrap_or(path),
    }
}

/// Prefixes of Python installations, the most specific first.
fn python_environments() -> Vec<PathBuf> {
    let mut prefixes: Vec<PathBuf> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os).map(PathBuf::from).collect();
    let path = env::var_os("PATH").unwrap_or_default();
    let interpreters = if cfg!(windows) { ["python.exe", "python3.exe"] } else { ["python3", "python"] };
    for folder in env::split_paths(&path) {
        let Some(interpreter) = interpreters.iter().map(|name| folder.join(name)).find(|file| file.is_file()) else {
            continue;
        };
        // Without links first: the `python3` of a virtual environment links to the one it was made from.
        for file in [Some(interpreter.clone()), fs::canonicalize(&interpreter).ok()].into_iter().flatten() {
            let folder = file.parent().map(Path::to_path_buf);
            // Unix keeps interpreters in PREFIX/bin, Windows in PREFIX or PREFIX/Scripts.
            let above = folder.as_deref().and_then(Path::parent).map(Path::to_path_buf);
            prefixes.extend([above, folder].into_iter().flatten());
        }
        // The first interpreter on the path is the one `python3` would run.
        break;
    }
    prefixes
}

/// The library of the `onnxruntime` package below a Python prefix.
fn in_environment(prefix: &Path) -> Option<PathBuf> {
    site_packages(prefix).iter().find_map(|folder| newest_library(&folder.join("onnxruntime").join("capi")))
}

fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut found = vec![prefix.join("Lib").join("site-packages")];
    for library_folder in ["lib", "lib64", "local/lib"] {
        let folder = prefix.join(library_folder);
        // Debian's own packages are in lib/python3/dist-packages.
        let versions = entries(&folder).into_iter().filter(|path| file_name(path).starts_with("python3"));
        for version in versions {
            found.extend(["site-packages", "dist-packages"].map(|name| version.join(name)));
        }
    }
    found
}

/// The library in a folder: `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib` or `onnxruntime.dll`. Libraries of
/// execution providers lie beside it.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = file_name(path);
        name == "onnxruntime.dll"
            || name.starts_with("libonnxruntime.so")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
    };
    entries(folder).into_iter().rfind(is_library)
}

/// The entries of a folder in the order of their names; none where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_library_of_a_python_environment() {
        let prefix = tempfile::tempdir().unwrap();
        let folder = prefix.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(in_environment(prefix.path()), None);
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.1.32.0", "onnxruntime_pybind11_state.so"]
        {
            fs::write(folder.join(name), b"").unwrap();
        }
        assert_eq!(in_environment(prefix.path()), Some(folder.join("libonnxruntime.so.1.32.0")));
    }
}
