//! A recipe written for one model: what it is made of, what suits it and why, and what could be changed.
//!
//! The recipe runs as it is: what it suggests was tried. Whatever takes something that only the user has, such as data,
//! stands in a comment.

mod advice;
mod inputs;
mod layers;
mod trial;

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::inspect::{Inspection, inspect};
use crate::pass::Progress;
use crate::report::words::{grouped, percent};

use advice::Advice;

/// Operators that the head of a recipe names.
const OPERATORS: usize = 4;

/// Writes a recipe for a model, to be put into `folder`, from which its paths are relative. What it suggests is tried, on
/// random inputs.
///
/// # Errors
/// Fails where the model or the folder cannot be read.
pub fn draft(model: &Path, folder: &Path, progress: &dyn Progress) -> Result<String> {
    let inspection = inspect(model)?;
    let input = Input::open(model)?;
    let mut advice = Advice::new(&inspection);
    trial::settle(&mut advice, model, progress)?;
    let path = relative(model, folder)?;
    let mut text = String::new();
    head(&mut text, &inspection, &path);
    advice.write(&mut text);
    inputs::write(&mut text, &input.model.signature());
    text += "\n# Equal seeds give equal bytes.\nseed = 0\n# threads = 4\n# backend = \"onnxruntime\"\n\
             # report = [\"report.html\", \"report.json\"]\n";
    advice.write_gates(&mut text);
    inputs::write_narrowing(&mut text, &input.model.signature());
    layers::write(&mut text, &input.model, &advice)?;
    Ok(text)
}

fn head(text: &mut String, model: &Inspection, path: &str) {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let share = percent(model.constant_bytes as f64 / (model.bytes + model.side_bytes).max(1) as f64);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# A recipe for {name}: onnx-shrink --recipe FILE runs it. Every line may go; what the command line says goes\n\
         # before what is said here. Paths are relative to this file.\n#"
    );
    let _ = writeln!(
        text,
        "# {} bytes, {share} of them constants; opset {}; {} operators",
        grouped(model.bytes + model.side_bytes),
        model.opsets.get("ai.onnx").map_or_else(|| "?".to_owned(), ToString::to_string),
        grouped(model.nodes),
    );
    for operator in model.operators.iter().filter(|share| share.constant_bytes > 0).take(OPERATORS) {
        let share = percent(operator.constant_bytes as f64 / model.constant_bytes.max(1) as f64);
        let _ = writeln!(text, "#   {share:>7} in {} {}", grouped(operator.nodes), operator.operator);
    }
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let _ = writeln!(text, "model = {}\noutput = {}\n", quoted(path), quoted(&format!("{stem}.small.onnx")));
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The way from a folder to a file.
fn relative(file: &Path, folder: &Path) -> Result<String> {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    let whole = |path: &Path| here(path).canonicalize().map_err(|e| Error::io("find", path, e));
    let parent = whole(file.parent().unwrap_or(Path::new("")))?;
    let (target, start) = (parent.join(file.file_name().unwrap_or_default()), whole(folder)?);
    let (target, start): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (target.components().collect(), start.components().collect());
    let shared = target.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = start.iter().skip(shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(target.iter().skip(shared).copied()).collect();
    Ok(way.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_toml_reads_them() {
        for text in ["a b", "C:\\x\"y\"", "tab\tand\u{1}"] {
            let value: toml::Table = toml::from_str(&format!("k = {}", quoted(text))).unwrap();
            assert_eq!(value["k"].as_str(), Some(text));
        }
    }

    #[test]
    fn paths_lead_from_the_recipe_to_the_model() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let way = |file: &str, from: &str| relative(&folder.path().join(file), &folder.path().join(from)).unwrap();
        assert_eq!(way("a/m.onnx", "a"), "m.onnx");
        assert_eq!(way("a/b/m.onnx", "a"), "b/m.onnx");
        assert_eq!(way("m.onnx", "a/b"), "../../m.onnx");
    }
}
