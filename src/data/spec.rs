//! `PATH:key=value:key=value`: where data lies, and how it is prepared.
//!
//! The form is that of a step of a pipeline. Commas may stand in the place of the colons behind the first, since no value
//! holds either. A path that exists as it is written has no options, whatever it looks like.

use std::path::PathBuf;

use crate::error::{Error, Result, did_you_mean};

/// A path and the options behind it that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) path: PathBuf,
    options: Vec<(String, String)>,
    asked: Vec<&'static str>,
    taken: Vec<&'static str>,
}

impl Spec {
    /// Splits the options from the path.
    ///
    /// # Errors
    /// Names an option that is given twice or has no value.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut spec = Self { path: PathBuf::from(text), options: Vec::new(), asked: Vec::new(), taken: Vec::new() };
        if spec.path.exists() {
            return Ok(spec);
        }
        let is_option = |part: &str| part.split_once('=').is_some_and(|(key, _)| is_word(key));
        let Some(end) = text.match_indices(':').map(|(at, _)| at).find(|at| is_option(&text[at + 1..])) else {
            return Ok(spec);
        };
        spec.path = PathBuf::from(&text[..end]);
        for part in text[end + 1..].split([':', ',']) {
            let Some((key, value)) = part.split_once('=').filter(|(key, value)| is_word(key) && !value.is_empty())
            else {
                return Err(Error::usage("an option of input data has no value")
                    .expected("PATH:key=value:key=value, as in images:crop=224:scale=1/255")
                    .found(format!("`{part}` in `{text}`")));
            };
            if spec.options.iter().any(|(known, _)| known == key) {
                return Err(
                    Error::usage(format!("option `{key}` of input data is given twice")).found(format!("`{text}`"))
                );
            }
            spec.options.push((key.to_owned(), value.to_owned()));
        }
        Ok(spec)
    }

    /// The value of an option, and no error about it in [`Self::finish`].
    pub(super) fn take(&mut self, key: &'static str) -> Option<String> {
        self.asked.push(key);
        let at = self.options.iter().position(|(known, _)| known == key)?;
        self.taken.push(key);
        Some(self.options.remove(at).1)
    }

    /// Whether an option that was taken had been given.
    pub(super) fn was_given(&self, key: &str) -> bool {
        self.taken.contains(&key)
    }

    /// The value of an option, read by `read`, which returns `None` for what it does not take.
    ///
    /// # Errors
    /// Says what was expected.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let wrong = || Error::usage(format!("option `{key}` of input data does not take `{text}`")).expected(expected);
        read(&text).map(Some).ok_or_else(wrong)
    }

    /// To be called when all options were asked for.
    ///
    /// # Errors
    /// Names one that `what` does not have.
    pub(super) fn finish(&self, what: &str) -> Result<()> {
        let Some((key, _)) = self.options.first() else { return Ok(()) };
        let error = Error::usage(format!("input data of {what} has no option `{key}`"))
            .expected(if self.asked.is_empty() { "no options".to_owned() } else { self.asked.join(", ") })
            .found(format!("`{key}` for `{}`", self.path.display()));
        Err(match did_you_mean(key, self.asked.iter().copied()) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A positive whole number.
pub(super) fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number| number > 0)
}

/// A finite number, or a fraction of two: `0.5`, `1/255`.
pub(super) fn fraction(text: &str) -> Option<(f32, f32)> {
    let number = |text: &str| text.parse::<f32>().ok().filter(|number| number.is_finite());
    match text.split_once('/') {
        Some((above, below)) => Some((number(above)?, number(below).filter(|&below| below != 0.0)?)),
        None => Some((number(text)?, 1.0)),
    }
}

/// Numbers between slashes: `0.485/0.456/0.406`.
pub(super) fn numbers(text: &str) -> Option<Vec<f32>> {
    text.split('/').map(|part| part.parse::<f32>().ok().filter(|number| number.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn splits_options_from_a_path() {
        let mut spec = Spec::parse("C:/data/images/:crop=224,scale=1/255:order=bgr").unwrap();
        assert_eq!(spec.path, Path::new("C:/data/images/"));
        assert_eq!(spec.take("crop").as_deref(), Some("224"));
        assert_eq!(spec.read("scale", "a number", fraction).unwrap(), Some((1.0, 255.0)));
        let error = spec.finish("images").unwrap_err().to_string();
        assert!(error.contains("no option `order`") && error.contains("crop, scale"), "{error}");
        assert!(Spec::parse("x:crop=1:crop=2").unwrap_err().to_string().contains("twice"));
        assert!(Spec::parse("x:crop=1:scale").unwrap_err().to_string().contains("no value"));
        assert_eq!(Spec::parse("a:b").unwrap().path, Path::new("a:b"));
    }

    #[test]
    fn reads_numbers() {
        assert_eq!(numbers("0.5/1/2"), Some(vec![0.5, 1.0, 2.0]));
        assert_eq!((numbers("a/1"), fraction("1/0"), positive("0")), (None, None, None));
    }
}
