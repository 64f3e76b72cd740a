//! Ending a pass that is under way: at the next step of its progress, by unwinding its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Watcher;
use crate::pass::Progress;

/// Tells the one who watches how far a search has come, until it is halted.
///
/// A pass has no place to be stopped at but where it tells how far it is. From there the thread is unwound, without the
/// message of a panic: what it holds is given back, temporary files are removed.
pub(super) struct Halting {
    watcher: Arc<dyn Watcher>,
    is_halted: AtomicBool,
}

/// What a halted thread ends with.
struct Halted;

impl Halting {
    pub(super) fn new(watcher: Arc<dyn Watcher>) -> Self {
        Self { watcher, is_halted: AtomicBool::new(false) }
    }

    /// The one who watches, for what does not end a thread.
    pub(super) fn watcher(&self) -> &dyn Watcher {
        &*self.watcher
    }

    /// Ends whatever tells of its progress from now on.
    pub(super) fn halt(&self) {
        self.is_halted.store(true, Ordering::Release);
    }

    pub(super) fn is_halted(&self) -> bool {
        self.is_halted.load(Ordering::Acquire)
    }

    fn pass(&self) -> &dyn Watcher {
        if self.is_halted() && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(Halted));
        }
        &*self.watcher
    }
}

impl Progress for Halting {
    fn start(&self, what: &str, total: u64) {
        self.pass().start(what, total);
    }

    fn advance(&self, steps: u64) {
        self.pass().advance(steps);
    }

    fn finish(&self) {
        self.pass().finish();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, Default)]
    struct Silent;

    impl Progress for Silent {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, _: u64) {}
        fn finish(&self) {}
    }

    impl Watcher for Silent {
        fn trying(&self, _: &str, _: &str, _: Option<Duration>) {}
        fn says(&self, _: &str) {}
    }

    #[test]
    fn work_ends_at_its_next_step() {
        let halting = Arc::new(Halting::new(Arc::new(Silent)));
        let (working, folder) = (halting.clone(), tempfile::tempdir().unwrap());
        let path = folder.path().to_owned();
        let thread = std::thread::spawn(move || {
            let _held = folder;
            loop {
                working.advance(1);
                std::thread::yield_now();
            }
        });
        halting.halt();
        assert!(thread.join().is_err());
        assert!(!path.exists(), "what the thread held is still there");
    }
}
