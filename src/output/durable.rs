//! A file that is on its way to the disk while it is still being written.
//!
//! Waiting for the disk takes longer than everything else that is done to a large model, where all of it is left to the end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// What is written goes to the disk in steps of so many bytes; a smaller file goes at the end, without a thread.
const STEP_BYTES: usize = 1 << 23;

/// A file being written, which is durable once all of it is there.
#[derive(Debug)]
pub struct Durable {
    file: File,
    /// Bytes since the disk was last told.
    written: usize,
    disk: Option<Disk>,
}

/// The thread that waits for the disk.
#[derive(Debug)]
struct Disk {
    /// Says that there is more.
    more: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Disk {
    fn start(file: File) -> io::Result<Self> {
        let (more, asked) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || asked.into_iter().try_for_each(|()| file.sync_data()))?;
        Ok(Self { more, thread })
    }
}

impl Durable {
    pub(super) fn new(file: File) -> Self {
        Self { file, written: 0, disk: None }
    }

    /// The file, all of which is on the disk.
    ///
    /// # Errors
    /// Fails where the disk did not take all of it.
    pub(super) fn finish(self) -> io::Result<File> {
        if let Some(Disk { more, thread }) = self.disk {
            drop(more);
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes to the disk broke off")))?;
        }
        self.file.sync_all()?;
        Ok(self.file)
    }
}

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = bytes.get(..STEP_BYTES).unwrap_or(bytes);
        let count = self.file.write(step)?;
        self.written += count;
        if self.written >= STEP_BYTES {
            self.written = 0;
            let disk = match self.disk.take() {
                Some(disk) => disk,
                None => Disk::start(self.file.try_clone()?)?,
            };
            // Full, the disk is told already; closed, it has failed, which `finish` hears.
            let _ = disk.more.try_send(());
            self.disk = Some(disk);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_many_steps_has_every_byte() {
        let contents: Vec<u8> = (0..3 * STEP_BYTES + 5).map(|i| (i % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut out = Durable::new(File::create_new(&path).unwrap());
        out.write_all(&contents[..7]).unwrap();
        out.write_all(&contents[7..]).unwrap();
        assert!(out.disk.is_some());
        out.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == contents);
    }

    #[cfg(unix)]
    #[test]
    fn a_disk_that_fails_is_heard_of() {
        // A pipe cannot be made durable.
        let (reader, writer) = io::pipe().unwrap();
        let drain = std::thread::spawn(move || io::copy(&mut { reader }, &mut io::sink()));
        let mut out = Durable::new(File::from(std::os::fd::OwnedFd::from(writer)));
        out.write_all(&vec![0; 2 * STEP_BYTES]).unwrap();
        assert!(out.finish().is_err());
        drain.join().unwrap().unwrap();
    }
}
