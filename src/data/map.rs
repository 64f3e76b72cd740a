//! Files as shared byte buffers.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, Result};

/// The contents of a file, mapped into memory where the file is not empty.
///
/// # Errors
/// Fails where the file cannot be opened or mapped.
pub(super) fn read_shared(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read the size of", path, e))?.len();
    if length == 0 {
        // An empty file cannot be mapped on every platform.
        return Ok(Bytes::new());
    }
    #[allow(
        unsafe_code,
        reason = "the mapping is read-only and private; as with every memory map, the file must not be truncated while it is in use"
    )]
    let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) };
    Ok(Bytes::from_owner(map.map_err(|e| Error::io("map", path, e))?))
}
