//! Files that `--report` writes: where they go, and in which form.

use std::io::Write;
use std::path::{Path, PathBuf};

use onnx_shrink::output::{Staging, is_same_place};
use onnx_shrink::report::Report;
use onnx_shrink::{Error, ErrorKind, Result};

use super::json;

#[derive(Debug, Clone, Copy)]
enum Form {
    Html,
    Json,
    Markdown,
}

/// The reports a user asked for, with their places reserved.
#[derive(Debug)]
pub(super) struct Reports(Vec<(Form, Staging)>);

impl Reports {
    /// Checks the paths before the work begins: a report that cannot be written should not cost an hour of it.
    /// `others` are files that the run reads or writes.
    ///
    /// # Errors
    /// Fails where an extension names no form, two reports or a report and another file are the same, or a file cannot
    /// be made there.
    pub(super) fn reserve(paths: &[PathBuf], others: &[&Path]) -> Result<Self> {
        let mut reserved = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let form = form(path)?;
            let others = others.iter().copied().chain(paths.iter().take(index).map(PathBuf::as_path));
            if let Some(other) = others.into_iter().find(|other| is_same_place(path, other)) {
                return Err(Error::usage(format!("the report `{}` would be written over", path.display()))
                    .expected("a file of its own for each report")
                    .found(format!("`{}`, which the run reads or writes", other.display())));
            }
            check_folder(path)?;
            reserved.push((form, Staging::alone(path)?));
        }
        Ok(Self(reserved))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// Fails where the disk is full or a folder cannot be written to.
    pub(super) fn write(self, report: &Report) -> Result<()> {
        for (form, staging) in self.0 {
            let contents = match form {
                Form::Html => report.to_html()?.into_bytes(),
                Form::Json => json(report)?,
                Form::Markdown => report.to_markdown().into_bytes(),
            };
            staging.write_with(|out| {
                out.write_all(&contents)
                    .map_err(|e| Error::new(ErrorKind::Io, "cannot write the report").with_source(e))
            })?;
            staging.commit()?;
        }
        Ok(())
    }
}

/// Whether a report has a folder to go to.
///
/// # Errors
/// Says that it has none.
pub(super) fn check_folder(path: &Path) -> Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => Err(Error::usage(format!("the folder of the report `{}` does not exist", path.display()))
            .expected(format!("a folder `{}`", folder.display()))
            .help("make it first, or name another report")),
    }
}

fn form(path: &Path) -> Result<Form> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("html" | "htm") => Ok(Form::Html),
        Some("json") => Ok(Form::Json),
        Some("md") => Ok(Form::Markdown),
        _ => Err(Error::usage("the extension of a report says which form it has")
            .expected("a file that ends with .html, .json or .md")
            .found(format!("`{}`", path.display()))),
    }
}

/// The command line as a shell would take it.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("onnx-shrink".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_take_apart() {
        assert_eq!(quoted("quant8=static:exclude=/fc"), "quant8=static:exclude=/fc");
        assert_eq!(quoted("it's a *"), r"'it'\''s a *'");
        assert_eq!(quoted(""), "''");
    }
}
