//! Files as shared bytes, without reading them into memory.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, Result};

/// The contents of the file at `path`; slices of them share the map.
///
/// # Errors
/// Fails where the file cannot be opened or mapped.
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    let metadata = file.metadata().map_err(|source| Error::io("examine", path, source))?;
    if metadata.is_dir() {
        return Err(Error::io("open", path, std::io::ErrorKind::IsADirectory.into()));
    }
    // The operating system refuses to map nothing.
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is private and read-only. Its contents change only where another program rewrites the file in
    // place while it is read; this crate never does (it writes a new file and renames it), and no reader of the bytes
    // relies on two reads giving the same value.
    #[allow(unsafe_code, reason = "a model of gigabytes is mapped, not copied; there is no safe way to map a file")]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| Error::io("map", path, source))?;
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
