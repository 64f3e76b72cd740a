//! Files as shared bytes.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result, did_you_mean};

/// Maps a file into memory; nothing is read until it is looked at.
///
/// # Errors
/// Fails where the path is a folder, does not exist or cannot be read.
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|e| {
        let is_missing = e.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io("open", path, e);
        match is_missing.then(|| similar(path)).flatten() {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        }
    })?;
    map_file(&file, path)
}

/// A file beside a missing one that was probably meant.
fn similar(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let name = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok()?;
    let names: std::collections::BTreeSet<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let meant = did_you_mean(name, names.iter().map(String::as_str))?;
    Some(folder.join(meant).display().to_string())
}

/// Maps an open file; `path` is for errors.
///
/// # Errors
/// As [`map`].
pub(crate) fn map_file(file: &File, path: &Path) -> Result<Bytes> {
    let metadata = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if metadata.is_dir() {
        return Err(Error::new(ErrorKind::Io, format!("`{}` is a folder", path.display())).expected("an ONNX file"));
    }
    // An empty file cannot be mapped.
    if metadata.is_file() && metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    if !metadata.is_file() {
        // A pipe or device has no length to map: read it.
        let mut contents = Vec::new();
        std::io::Read::read_to_end(&mut &*file, &mut contents).map_err(|e| Error::io("read", path, e))?;
        return Ok(contents.into());
    }
    map_range(file, 0, metadata.len() as usize, path)
}

/// Maps a part of an open file, which must be that long; `path` is for errors.
///
/// # Errors
/// Fails where the operating system refuses.
#[allow(unsafe_code, reason = "a memory map cannot be made without; see the comment in the function")]
pub(crate) fn map_range(file: &File, offset: u64, len: usize, path: &Path) -> Result<Bytes> {
    // SAFETY: the map is read-only. Another process that changes or truncates the file while it is mapped can change
    // what is read or end this process with a signal; that is the price of not copying weights, and the same as in any
    // tool that maps its input. This crate itself replaces files by renaming, so it never writes into a mapped one.
    let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(len).map(file) }
        .map_err(|e| Error::io("map", path, e))?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn maps_contents_and_empty_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"contents").unwrap();
        assert_eq!(map(&path).unwrap().as_ref(), b"contents");
        std::fs::write(&path, b"").unwrap();
        assert!(map(&path).unwrap().is_empty());
    }

    #[test]
    fn reports_what_cannot_be_mapped() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(map(folder.path()).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(map(&folder.path().join("missing")).unwrap_err().kind(), ErrorKind::Io);
    }
}
