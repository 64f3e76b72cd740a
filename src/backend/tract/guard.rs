//! tract panics on some models: here a panic becomes a value, and stays silent.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `job`; `Err` holds the message of a panic in it.
pub(super) fn catch_panic<T>(job: impl FnOnce() -> T) -> Result<T, String> {
    silence_hook();
    let outer = SILENT.replace(true);
    // What a job leaves half done is dropped with it: plans and states are made per call and never reused after a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(job));
    SILENT.set(outer);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
    })
}

/// Puts a hook in front of the one in place, once in the life of the process: it keeps quiet in threads that are inside
/// [`catch_panic`] and passes every other panic on.
fn silence_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                next(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch_panic(|| 1), Ok(1));
        assert_eq!(catch_panic(|| -> () { panic!("axis {}", 7) }), Err("axis 7".to_owned()));
        assert!(!SILENT.get());
    }
}
