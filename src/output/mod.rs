//! Writing a result so that a reader never sees half of it.
//!
//! A result is written into a folder `.NAME.onnx-shrink.tmp` beside its destination, made durable, checked there by
//! whoever likes to, and then renamed into place. Killed at any moment, a run leaves the old file or none. The folder
//! has a fixed name, so that the next run for the same destination finds and removes what a killed one left; a lock in
//! it keeps two runs apart. A folder instead of a plain temporary file, because a model finds its side file by name
//! beside itself: in the folder it can be loaded before either file is in place.

mod durable;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

pub use self::durable::Durable;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::Encoded;

/// Small pieces of a model are gathered to writes of this size; large ones are written from where they lie.
const WRITE_BUFFER_BYTES: usize = 1 << 18;

const LOCK: &str = "lock";

/// Whoever finds a lock whose file was just removed tries again; more often than this is no coincidence.
const LOCK_ATTEMPTS: usize = 8;

/// A destination, reserved for this run, and the files that are to go there. Dropped, it takes its files with it.
#[derive(Debug)]
pub struct Staging {
    /// The folder for temporary files, made for this run.
    folder: PathBuf,
    destination: PathBuf,
    side_destination: PathBuf,
    model: PathBuf,
    side: PathBuf,
    _lock: File,
}

impl Staging {
    /// Reserves a destination: checks that a file can be made there, and removes what a killed run left.
    ///
    /// # Errors
    /// Fails where the destination is a folder, its folder does not exist or cannot be written to, or another run is
    /// writing to it.
    pub fn open(destination: &Path, side_file_name: &str) -> Result<Self> {
        let (parent, name) = split(destination)?;
        let mut folder_name = std::ffi::OsString::from(".");
        folder_name.push(name);
        folder_name.push(".onnx-shrink.tmp");
        let folder = parent.join(folder_name);
        let lock = reserve(&folder, destination)?;
        let staging = Self {
            model: folder.join(name),
            side: folder.join(side_file_name),
            folder,
            destination: destination.to_owned(),
            side_destination: parent.join(side_file_name),
            _lock: lock,
        };
        staging.remove_files().map_err(|e| Error::io("clean up", &staging.folder, e))?;
        Ok(staging)
    }

    /// The same for a file without a side file.
    ///
    /// # Errors
    /// As [`Staging::open`].
    pub fn alone(destination: &Path) -> Result<Self> {
        // Never written, so that no such file is ever moved.
        Self::open(destination, "no-side-file")
    }

    /// The folder for temporary files, on the disk of the destination.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model file, before it is in place.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The side file, before it is in place.
    pub fn side(&self) -> &Path {
        &self.side
    }

    /// Writes model and side file and makes them durable.
    ///
    /// # Errors
    /// Fails where the disk is full or the folder cannot be written to.
    pub fn write(&self, encoded: &Encoded) -> Result<()> {
        self.write_file(&self.model, |out| encoded.write_model(out))?;
        if encoded.side_len() > 0 {
            self.write_file(&self.side, |out| encoded.write_side(out))?;
        }
        Ok(())
    }

    /// The same in the place of what was written before.
    ///
    /// # Errors
    /// As [`Staging::write`].
    pub fn write_again(&self, encoded: &Encoded) -> Result<()> {
        self.remove_files().map_err(|e| Error::io("clean up", &self.folder, e))?;
        self.write(encoded)
    }

    /// Writes the model file from what `contents` puts out, makes it durable, and returns its length in bytes.
    ///
    /// # Errors
    /// As `contents` does, or where the disk is full or the folder cannot be written to.
    pub fn write_with(&self, contents: impl FnOnce(&mut BufWriter<Durable>) -> Result<()>) -> Result<u64> {
        let mut failure = None;
        let written = self.write_file(&self.model, |out| {
            contents(out).map_err(|e| {
                failure = Some(e);
                io::Error::other("the contents could not be made")
            })
        });
        failure.map_or(written, Err)?;
        Ok(fs::metadata(&self.model).map_err(|e| Error::io("read", &self.model, e))?.len())
    }

    fn write_file(&self, path: &Path, contents: impl FnOnce(&mut BufWriter<Durable>) -> io::Result<()>) -> Result<()> {
        let write = || -> io::Result<()> {
            let file = File::create_new(path)?;
            // Who may read the file that is replaced may read the new one.
            if let Ok(old) = fs::metadata(&self.destination) {
                file.set_permissions(old.permissions())?;
            }
            let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, Durable::new(file));
            contents(&mut out)?;
            out.into_inner()?.finish().map(drop)
        };
        write().map_err(|e| Error::io("write", &self.destination, e).help("nothing was changed"))
    }

    /// Moves what was written into place.
    ///
    /// # Errors
    /// Fails where the files cannot be renamed.
    pub fn commit(self) -> Result<()> {
        let in_place = |e| Error::io("move the result into place at", &self.destination, e);
        if self.side.exists() {
            // Between two renames the old model would read the new weights: better no model than a wrong one.
            if self.side_destination.exists() && fs::symlink_metadata(&self.destination).is_ok() {
                fs::remove_file(&self.destination).map_err(in_place)?;
            }
            fs::rename(&self.side, &self.side_destination).map_err(in_place)?;
        }
        fs::rename(&self.model, &self.destination).map_err(in_place)?;
        sync_folder(&self.destination).map_err(in_place)
    }

    fn remove_files(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != LOCK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever fails here is left to the next run.
        let _ = self.remove_files();
        let _ = fs::remove_file(self.folder.join(LOCK));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The folder and the name of a destination.
fn split(destination: &Path) -> Result<(&Path, &OsStr)> {
    let shown = destination.display();
    let is_folder = || {
        Error::usage(format!("the output `{shown}` is a folder"))
            .expected("the name of a file")
            .help(format!("for instance `{}`", destination.join("small.onnx").display()))
    };
    let name = destination.file_name().ok_or_else(is_folder)?;
    if destination.is_dir() || destination.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(is_folder());
    }
    let parent = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(Error::usage(format!("the folder of the output `{shown}` does not exist"))
            .expected(format!("a folder `{}`", parent.display()))
            .help("make it first, or name another output"));
    }
    Ok((parent, name))
}

/// Makes the folder for temporary files and locks it.
fn reserve(folder: &Path, destination: &Path) -> Result<File> {
    let failed = |e| Error::io("write to the folder of", destination, e).help("nothing was changed");
    for _ in 0..LOCK_ATTEMPTS {
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        // A link here would let this run remove files elsewhere.
        if !fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Error::new(ErrorKind::Io, format!("`{}` is in the way", folder.display()))
                .expected("no such file, or the folder of a run that was killed")
                .help("remove it"));
        }
        let path = folder.join(LOCK);
        let lock = match File::options().write(true).create(true).truncate(false).open(&path) {
            Ok(lock) => lock,
            // The run before has just removed the folder.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(e)),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(destination)),
            // File systems without locks; then two runs are kept apart by nothing but their user.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        if is_same_file(&lock, &path) {
            return Ok(lock);
        }
    }
    Err(busy(destination))
}

fn busy(destination: &Path) -> Error {
    Error::new(ErrorKind::Io, format!("another run is writing to `{}`", destination.display()))
        .help("wait for it, or name another output")
}

/// Whether two paths name the same file; one that is yet to be made is known by its folder.
pub fn is_same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(folder.canonicalize().ok()?.join(path.file_name()?))
        })
    };
    matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

/// Whether the open file is still the one at `path`: it may have been removed before it was locked.
#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Makes a rename durable.
#[cfg(unix)]
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Model;
    use crate::onnx::{EncodeOptions, encode};

    fn encoded() -> Encoded {
        encode(&Model::default(), &EncodeOptions::default()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_left_unless_committed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.onnx");
        let staging = Staging::open(&out, "out.onnx.data").unwrap();
        staging.write(&encoded()).unwrap();
        drop(staging);
        assert!(names(folder.path()).is_empty());
        let staging = Staging::open(&out, "out.onnx.data").unwrap();
        staging.write(&encoded()).unwrap();
        staging.commit().unwrap();
        assert_eq!(names(folder.path()), ["out.onnx"]);
    }

    #[test]
    fn cleans_up_after_a_killed_run() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".out.onnx.onnx-shrink.tmp");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("out.onnx"), "half a model").unwrap();
        fs::write(left.join("out.onnx.data"), "half of its weights").unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let staging = Staging::open(&folder.path().join("out.onnx"), "out.onnx.data").unwrap();
        staging.write(&encoded()).unwrap();
        staging.commit().unwrap();
        assert_eq!(names(folder.path()), ["out.onnx"]);
    }

    #[test]
    fn two_runs_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.onnx");
        let first = Staging::open(&out, "out.onnx.data").unwrap();
        let error = Staging::open(&out, "out.onnx.data").unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
        drop(first);
        Staging::open(&out, "out.onnx.data").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn replaces_a_link_instead_of_writing_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, out) = (folder.path().join("precious"), folder.path().join("out.onnx"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &out).unwrap();
        let staging = Staging::open(&out, "out.onnx.data").unwrap();
        staging.write(&encoded()).unwrap();
        staging.commit().unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert!(!fs::symlink_metadata(&out).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn does_not_follow_a_link_in_place_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".out.onnx.onnx-shrink.tmp")).unwrap();
        assert!(Staging::open(&folder.path().join("out.onnx"), "out.onnx.data").is_err());
        assert_eq!(names(elsewhere.path()), ["precious"]);
    }

    #[test]
    fn says_what_is_wrong_with_a_destination() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: PathBuf| Staging::open(&path, "d").unwrap_err().to_string();
        assert!(error(folder.path().to_owned()).contains("is a folder"));
        assert!(error(folder.path().join("new/")).contains("is a folder"));
        assert!(error(folder.path().join("no/out.onnx")).contains("does not exist"));
    }
}
