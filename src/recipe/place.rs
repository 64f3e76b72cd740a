//! Where in a recipe something stands, for errors.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::error::{Error, Result, did_you_mean};

/// The text of a recipe and the file it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The error, with the line it is about as its place.
    pub(super) fn at(&self, span: &Range<usize>, error: Error) -> Error {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        error.in_file(Path::new(&format!("{}:{line}", self.path.display())))
    }

    /// What `read` makes of a value.
    ///
    /// # Errors
    /// Its error, with the line of the value.
    pub(super) fn read<T, U>(&self, value: &Spanned<T>, read: impl FnOnce(&T) -> Result<U>) -> Result<U> {
        read(value.get_ref()).map_err(|error| self.at(&value.span(), error))
    }

    /// The error of the reader of TOML, in the words of this crate: which line, which key, and what was probably meant.
    pub(super) fn unreadable(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        // What serde says: unknown field `pipline`, expected one of `model`, `pipeline`
        let mut quoted = message.split('`').skip(1).step_by(2);
        let start = self.text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
        let ours = match message.strip_prefix("unknown field ").and(quoted.next()) {
            Some(key) => {
                let known: Vec<&str> = quoted.collect();
                let error = Error::usage(format!("a recipe has no key `{key}`"));
                match did_you_mean(key, known.iter().copied()) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None => error.expected(format!("one of {}", known.join(", "))),
                }
            }
            None => {
                let message = message.trim_end().replace('\n', "; ");
                let error = Error::usage(format!("the recipe cannot be read: {message}"));
                if line.is_empty() { error } else { error.found(format!("`{line}`")) }
            }
        };
        self.at(&span, ours)
    }
}
