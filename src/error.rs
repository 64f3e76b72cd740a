//! One error type for the whole crate.
//!
//! An error says what failed, where ([`Site`]), what was expected, what was found and what to do about it. Callers
//! match on [`Error::kind`], never on the text. It renders as
//!
//! ```text
//! error: pass `channels` cannot drop 16 of 64 channels
//!   at:       Conv `/layer1/conv1/Conv`, tensor `float[64,3,7,7] conv1.weight`
//!   expected: every reader of `/layer1/conv1/Conv_output_0` to keep axis 1 apart
//!   found:    Reshape `/Reshape_2` merges axes 1 and 2
//!   help:     leave this layer out: channels=0.25:exclude=/layer1/conv1/Conv
//! ```

use std::fmt;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure an [`Error`] is; the part of it that programs may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that does not exist or does not go together.
    Usage,
    /// A file could not be read or written.
    Io,
    /// The input is not a well-formed ONNX model.
    InvalidModel,
    /// Input data (calibration or evaluation arrays) does not fit the model.
    InvalidData,
    /// The model is well formed, but uses something this crate or a backend cannot do.
    Unsupported,
    /// A backend failed while it loaded or ran a model.
    Backend,
    /// No backend here can run the model, so the result cannot be validated.
    CannotValidate,
    /// The result drifted further from the original than the gate allows.
    Drift,
    /// The result would be a worse file than the input.
    WorseFile,
    /// A pass broke one of the guarantees that every pass must keep: a defect in this crate.
    BrokenPass,
}

impl ErrorKind {
    /// Whether nothing here could run a model, which is no fault of the model.
    pub fn is_no_run(self) -> bool {
        matches!(self, Self::CannotValidate | Self::Unsupported)
    }
}

/// Where in a model something is: subgraph path, node, tensor; every part optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Site {
    /// The file, where several are in play.
    pub file: Option<String>,
    /// Path of enclosing subgraphs from the outside in, each as `Op \`node\`.attribute`; empty for the main graph.
    pub path: Vec<String>,
    /// The operator type of the node.
    pub op: Option<String>,
    /// The name of the node, or of its first output where it has none.
    pub node: Option<String>,
    /// The tensor, rendered with its type where that is known: `float[64,3,7,7] conv1.weight`.
    pub tensor: Option<String>,
}

impl Site {
    /// The site of a node.
    pub fn node(op: impl Into<String>, name: impl Into<String>) -> Self {
        Self { op: Some(op.into()), node: Some(name.into()), ..Self::default() }
    }

    /// The site of a tensor or value.
    pub fn tensor(tensor: impl Into<String>) -> Self {
        Self { tensor: Some(tensor.into()), ..Self::default() }
    }

    /// The same site, naming a tensor as well.
    #[must_use]
    pub fn with_tensor(mut self, tensor: impl Into<String>) -> Self {
        self.tensor = Some(tensor.into());
        self
    }

    /// The same site inside the given subgraph path.
    #[must_use]
    pub fn in_path(mut self, path: &[String]) -> Self {
        self.path = path.to_vec();
        self
    }

    /// Whether nothing is known about the place.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut part = |f: &mut fmt::Formatter<'_>, text: String| -> fmt::Result {
            if !std::mem::take(&mut first) {
                f.write_str(", ")?;
            }
            f.write_str(&text)
        };
        if let Some(file) = &self.file {
            part(f, format!("file `{file}`"))?;
        }
        if !self.path.is_empty() {
            part(f, self.path.join(" > "))?;
        }
        match (&self.op, &self.node) {
            (Some(op), Some(node)) => part(f, format!("{op} `{node}`"))?,
            (Some(op), None) => part(f, op.clone())?,
            (None, Some(node)) => part(f, format!("node `{node}`"))?,
            (None, None) => {}
        }
        if let Some(tensor) = &self.tensor {
            part(f, format!("tensor `{tensor}`"))?;
        }
        Ok(())
    }
}

/// A failure, with everything a person needs to understand and mend it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    site: Site,
    expected: Option<String>,
    found: Option<String>,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error of `kind`; `what` is one line without a full stop.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            site: Site::default(),
            expected: None,
            found: None,
            help: None,
            source: None,
        }))
    }

    /// An [`ErrorKind::Usage`] error.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    /// An [`ErrorKind::InvalidModel`] error.
    pub fn invalid_model(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidModel, what)
    }

    /// An [`ErrorKind::InvalidData`] error.
    pub fn invalid_data(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, what)
    }

    /// An [`ErrorKind::Unsupported`] error.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, what)
    }

    /// An [`ErrorKind::Backend`] error.
    pub fn backend(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Backend, what)
    }

    /// An I/O failure: `what` was being done to `path`.
    pub fn io(what: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("cannot {what} `{}`: {source}", path.display())).with_source(source)
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, site: Site) -> Self {
        self.0.site = site;
        self
    }

    /// Adds the place unless a more exact one is known already.
    #[must_use]
    pub fn or_at(mut self, site: impl FnOnce() -> Site) -> Self {
        if self.0.site.is_empty() {
            self.0.site = site();
        }
        self
    }

    /// Adds the file the error is about.
    #[must_use]
    pub fn in_file(mut self, path: &std::path::Path) -> Self {
        self.0.site.file.get_or_insert_with(|| path.display().to_string());
        self
    }

    /// Adds what should have been there.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// Adds what was there.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds another thing the user can do about it, after what is said already.
    #[must_use]
    pub fn or_help(mut self, help: impl AsRef<str>) -> Self {
        let help = help.as_ref();
        self.0.help = Some(self.0.help.take().map_or_else(|| help.to_owned(), |known| format!("{known}; or {help}")));
        self
    }

    /// The same error, seen from further up: of another kind and with another first line. The old first line goes to
    /// what was found; place, expectation, help and source stay.
    #[must_use]
    pub fn reframed(mut self, kind: ErrorKind, what: impl Into<String>) -> Self {
        let before = std::mem::replace(&mut self.0.what, what.into());
        self.0.kind = kind;
        self.0.found = Some(self.0.found.take().map_or_else(|| before.clone(), |found| format!("{before}: {found}")));
        self
    }

    /// Adds the lower-level error behind this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind, for callers that act on it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The first line, without place and help.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Where it happened; empty where that is not known.
    pub fn site(&self) -> &Site {
        &self.0.site
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { what, site, expected, found, help, .. } = &*self.0;
        f.write_str(what)?;
        if !site.is_empty() {
            write!(f, "\n  at:       {site}")?;
        }
        for (label, text) in [("expected: ", expected), ("found:    ", found), ("help:     ", help)] {
            if let Some(text) = text {
                write!(f, "\n  {label}{text}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(source) = &self.0.source {
            write!(f, "\n  caused by: {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// The candidate closest to `name`, where one is close enough to be what was meant.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_part_in_order() {
        let error = Error::invalid_model("weight has the wrong size")
            .at(Site::node("Conv", "c1").with_tensor("float[2,3] w"))
            .expected("24 bytes")
            .found("20 bytes")
            .help("export the model again");
        assert_eq!(
            error.to_string(),
            "weight has the wrong size\n  at:       Conv `c1`, tensor `float[2,3] w`\n  expected: 24 bytes\n  found:    20 bytes\n  help:     export the model again"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
    }

    #[test]
    fn keeps_everything_in_another_frame() {
        let inner =
            Error::backend("the session failed").at(Site::tensor("x")).found("index 9").help("give ids below 9");
        let outer = inner.reframed(ErrorKind::CannotValidate, "the model does not run").or_help("skip it");
        assert_eq!(outer.kind(), ErrorKind::CannotValidate);
        assert_eq!(
            outer.to_string(),
            "the model does not run\n  at:       tensor `x`\n  found:    the session failed: index 9\n  help:     give ids below 9; or skip it"
        );
    }

    #[test]
    fn suggests_only_what_is_close() {
        let names = ["prune", "quant8", "fuse-bn"];
        assert_eq!(did_you_mean("prun", names), Some("prune"));
        assert_eq!(did_you_mean("quant9", names), Some("quant8"));
        assert_eq!(did_you_mean("zzz", names), None);
    }
}
