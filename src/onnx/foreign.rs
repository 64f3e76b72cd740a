//! What a file is that is no ONNX model: the mistakes people make.

/// How the bytes begin, what that is, and what to do about it.
const KINDS: &[(usize, &[u8], &str, &str)] = &[
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file", "fetch the file: git lfs pull"),
    (0, b"<!DOCTYPE", "a web page", "download the file itself, not the page about it"),
    (0, b"<!doctype", "a web page", "download the file itself, not the page about it"),
    (0, b"<html", "a web page", "download the file itself, not the page about it"),
    (0, b"PK\x03\x04", "a ZIP archive, as PyTorch writes its checkpoints", "unpack it, or export the model to ONNX"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first"),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes its models", "export the model to ONNX"),
    (0, b"\x93NUMPY", "a NumPy array", "name the model first, and arrays with --inputs"),
    (0, b"GGUF", "a GGUF file", "export the model to ONNX"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX"),
    (4, b"ORTM", "a model in the format of ONNX Runtime", "take the ONNX file that it was made from"),
];

/// So many bytes of text are shown.
const SHOWN: usize = 40;

/// What the file is and what to do about it, where that can be told.
pub(super) fn kind_of(bytes: &[u8]) -> Option<(String, &'static str)> {
    let known = KINDS.iter().find(|(at, magic, ..)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((_, _, kind, help)) = known {
        return Some(((*kind).to_owned(), help));
    }
    let head: String = bytes.iter().take(SHOWN).map(|&byte| char::from(byte)).collect();
    let is_text = head.chars().all(|c| c.is_ascii_graphic() || matches!(c, ' ' | '\t' | '\n' | '\r'));
    let line = head.lines().next().unwrap_or_default().to_owned();
    is_text.then(|| (format!("a text, which begins with `{line}`"), "name the model file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_else_a_file_is() {
        let kind = |bytes: &[u8]| kind_of(bytes).map(|(kind, _)| kind).unwrap_or_default();
        assert!(kind(b"version https://git-lfs.github.com/spec/v1\n").contains("Git LFS"));
        assert!(kind(b"\x1c\0\0\0TFL3").contains("TensorFlow Lite"));
        assert_eq!(kind(b"hello\nworld"), "a text, which begins with `hello`");
        assert_eq!(kind(b"\x08\x07\x12"), "");
    }
}
