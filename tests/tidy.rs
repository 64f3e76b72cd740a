//! What keeps the source in order: the layers, and the README in step with the registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skipped"
)]

use std::fs;
use std::path::{Path, PathBuf};

use onnx_shrink::{pass, passes};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

/// Lines of code that name a module; comments may name what they like.
fn names(text: &str, module: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| line.contains(module)).map(str::to_owned).collect()
}

#[test]
fn lower_layers_know_nothing_of_higher_ones() {
    let above: [(&str, &[&str]); 4] = [
        ("src/ir", &["crate::pass", "crate::backend", "crate::data", "crate::validate", "crate::cli"]),
        ("src/onnx", &["crate::pass", "crate::backend", "crate::data", "crate::validate", "crate::cli"]),
        ("src/backend", &["crate::pass", "crate::data", "crate::validate", "crate::cli"]),
        ("src/pass", &["crate::cli"]),
    ];
    for (folder, forbidden) in above {
        for (path, text) in sources(folder) {
            for module in forbidden {
                assert_eq!(names(&text, module), [""; 0], "{} names {module}", path.display());
            }
        }
    }
}

#[test]
fn a_backend_gets_bytes_never_a_graph() {
    for (path, text) in sources("src/backend") {
        for part in ["ir::Graph", "ir::Model", "ir::NodeId"] {
            assert_eq!(names(&text, part), [""; 0], "{}", path.display());
        }
    }
}

#[test]
fn only_a_few_files_know_the_registry() {
    let allowed = ["src/lib.rs", "src/pass/pipeline.rs", "src/pass/manager.rs"];
    for (path, text) in sources("src") {
        let path = path.to_str().unwrap();
        if !allowed.contains(&path) && !path.starts_with("src/cli/") {
            assert_eq!(names(&text, "crate::passes"), [""; 0], "{path} names the registry");
        }
    }
}

#[test]
fn a_pass_names_no_other_pass() {
    let modules: Vec<String> = passes::ALL.iter().map(|info| info.name.replace('-', "_")).collect();
    for (path, text) in sources("passes") {
        for module in &modules {
            let own = path.iter().any(|part| part.to_str().is_some_and(|p| p.trim_end_matches(".rs") == module));
            if !own && path != Path::new("passes/mod.rs") {
                assert_eq!(names(&text, &format!("passes::{module}")), [""; 0], "{}", path.display());
                assert_eq!(names(&text, &format!("super::{module}")), [""; 0], "{}", path.display());
            }
        }
    }
}

/// `BLESS=1` writes the table instead.
#[test]
fn the_readme_lists_the_passes_as_they_are() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- passes: generated from the registry -->\n", "<!-- end of passes -->");
    let (before, rest) = readme.split_once(start).expect("the README marks where the table starts");
    let (table, after) = rest.split_once(end).expect("the README marks where the table ends");
    let expected = pass::markdown_table(passes::ALL);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{start}{expected}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(table, expected, "run `BLESS=1 cargo test --test tidy`");
}

#[test]
fn passes_describe_themselves() {
    for info in passes::ALL {
        assert!(info.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", info.name);
        assert!(!info.summary.is_empty() && !info.summary.ends_with('.'), "{}: {}", info.name, info.summary);
        pass::Opts::new(info, &[]).unwrap_or_else(|e| panic!("the defaults of {} do not parse: {e}", info.name));
        let module = info.name.replace('-', "_");
        let file = root().join("passes").join(format!("{module}.rs"));
        let folder = root().join("passes").join(&module).join("mod.rs");
        // One that is another with other settings lies in the folder of that.
        let is_variant = || {
            let folders = fs::read_dir(root().join("passes")).unwrap();
            folders.flatten().any(|folder| folder.path().join(format!("{module}.rs")).is_file())
        };
        assert!(file.is_file() || folder.is_file() || is_variant(), "{} lies in no file of its own", info.name);
        for option in info.options {
            let checked = option.default.map(|d| pass::Opts::new(info, &[(Some(option.key.into()), d.into())]));
            assert!(checked.is_none_or(|c| c.is_ok()), "the default of {}={} does not parse", info.name, option.key);
            assert!(!option.help.is_empty() && !option.help.ends_with('.'), "{}={}", info.name, option.key);
        }
    }
}
