//! A model whose results are kept: run on the same inputs again, it only looks them up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{NamedTensors, Session};
use crate::digest;
use crate::error::Result;
use crate::ir::Tensor;

/// Results beyond this are computed again each time.
const MOST_BYTES: u64 = 1 << 30;

/// A session that runs once on each input.
#[derive(Debug)]
pub struct Remembering {
    session: Box<dyn Session>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    results: BTreeMap<[u8; 32], NamedTensors>,
    bytes: u64,
}

impl Remembering {
    /// Keeps what `session` returns.
    pub fn new(session: Box<dyn Session>) -> Self {
        Self { session, kept: Mutex::default() }
    }
}

impl Session for Remembering {
    fn backend(&self) -> &'static str {
        self.session.backend()
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        let mut hash = Sha256::new();
        digest::add_tensors(&mut hash, inputs);
        let key: [u8; 32] = hash.finalize().into();
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().results.get(&key) {
            return Ok(known.clone());
        }
        // Not under the lock: samples run in parallel.
        let results = self.session.run(inputs)?;
        let bytes: u64 = results.iter().map(|(_, tensor)| tensor.byte_len()).sum();
        let mut kept = lock();
        if kept.bytes + bytes <= MOST_BYTES && kept.results.insert(key, results.clone()).is_none() {
            kept.bytes += bytes;
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Returns its inputs, and counts how often.
    #[derive(Debug, Default)]
    struct Echo(AtomicUsize);

    impl Session for std::sync::Arc<Echo> {
        fn backend(&self) -> &'static str {
            "echo"
        }

        fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(inputs.to_vec())
        }
    }

    #[test]
    fn runs_once_on_each_input() {
        let echo = std::sync::Arc::new(Echo::default());
        let session = Remembering::new(Box::new(echo.clone()));
        let input = |value: f32| vec![("x".to_owned(), Tensor::from_f32(vec![1], &[value]).unwrap())];
        for value in [1.0, 2.0, 1.0, 2.0, 1.0] {
            assert_eq!(session.run(&input(value)).unwrap()[0].1.to_f32().unwrap(), [value]);
        }
        assert_eq!(echo.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn another_shape_is_another_input() {
        let echo = std::sync::Arc::new(Echo::default());
        let session = Remembering::new(Box::new(echo.clone()));
        for shape in [vec![2, 1], vec![1, 2], vec![2, 1]] {
            session.run(&[("x".to_owned(), Tensor::from_f32(shape, &[1.0, 2.0]).unwrap())]).unwrap();
        }
        assert_eq!(echo.0.load(Ordering::Relaxed), 2);
    }
}
