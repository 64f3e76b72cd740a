//! Names with `*` in the place of any characters.

/// A name, or one with `*` in the place of any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::passes) struct Glob(String);

impl Glob {
    pub(in crate::passes) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(in crate::passes) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is that, or one of those.
    pub(in crate::passes) fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        let mut rest = rest;
        for part in middle {
            let Some(place) = rest.find(part) else { return false };
            rest = &rest[place + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let matches = |pattern: &str, name: &str| Glob::new(pattern).matches(name);
        assert!(matches("conv1", "conv1") && !matches("conv1", "conv12") && !matches("conv1", "my_conv1"));
        assert!(matches("/layer1/*", "/layer1/conv") && !matches("/layer1/*", "/layer2/conv"));
        assert!(matches("*.weight", "a.weight") && !matches("*.weight", "a.weights"));
        assert!(matches("*attn*out*", "l0.attn.out.w") && !matches("*attn*out*", "l0.out.attn"));
        assert!(matches("*", "") && matches("a*b*b", "abb") && !matches("a*b*b", "ab"));
    }
}
