//! Running a model in ONNX Runtime.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ort::environment::Environment;
use ort::session::Session as RawSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::DynValue;
use prost::Message;

use super::super::interface::Interface;
use super::super::{LoadOptions, ModelBytes, NamedTensors, Session};
use super::{NAME, convert};
use crate::error::{Error, Result};
use crate::ir::Tensor;
use crate::onnx::proto::{GraphProto, ModelProto, ValueInfoProto};

/// Models up to this size are loaded once for each thread that runs them; larger ones are shared, one run at a time.
const MAX_COPIED_BYTES: usize = 256 << 20;

/// The option that names the folder of external data for a model that comes as bytes.
const EXTERNAL_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// A model in ONNX Runtime. Its own sessions run one call at a time, so there is a pool of them.
pub(super) struct OrtSession {
    source: Source,
    interface: Interface,
    pool: Mutex<Pool>,
    returned: Condvar,
    max_sessions: usize,
}

struct Pool {
    idle: Vec<RawSession>,
    made: usize,
}

impl fmt::Debug for OrtSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrtSession").field("interface", &self.interface).field("max", &self.max_sessions).finish()
    }
}

impl OrtSession {
    /// Loads a model.
    ///
    /// # Errors
    /// `Unsupported` where ONNX Runtime does not take the model, with its reason.
    pub(super) fn load(
        environment: Environment,
        model: &ModelBytes,
        options: &LoadOptions,
        interface: Interface,
    ) -> Result<Self> {
        let source = Source::new(environment, model, options, &interface.extra_outputs());
        let first = source.open()?;
        let max_sessions = match source.size() <= MAX_COPIED_BYTES {
            true => std::thread::available_parallelism().map_or(1, usize::from),
            false => 1,
        };
        let pool = Mutex::new(Pool { idle: vec![first], made: 1 });
        Ok(Self { source, interface, pool, returned: Condvar::new(), max_sessions })
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle session: one that was returned, a new one, or the next that is returned.
    fn take(&self) -> Result<RawSession> {
        let mut pool = self.lock();
        loop {
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.made < self.max_sessions {
                pool.made += 1;
                drop(pool);
                return self.source.open().inspect_err(|_| self.forget());
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes room for another session after one could not be opened.
    fn forget(&self) {
        self.lock().made -= 1;
        self.returned.notify_one();
    }

    fn give_back(&self, session: RawSession) {
        self.lock().idle.push(session);
        self.returned.notify_one();
    }
}

impl Session for OrtSession {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        let inputs = self.interface.accepted(inputs)?;
        let inputs = (inputs.iter())
            .map(|(name, tensor)| Ok((Cow::Borrowed(name.as_str()), convert::to_ort(tensor)?)))
            .collect::<Result<Vec<(Cow<'_, str>, DynValue)>>>()?;
        let mut session = self.take()?;
        let outputs = run(&mut session, inputs);
        self.give_back(session);
        self.interface.arrange(outputs?)
    }
}

fn run(session: &mut RawSession, inputs: Vec<(Cow<'_, str>, DynValue)>) -> Result<NamedTensors> {
    let outputs = session
        .run(inputs)
        .map_err(|error| Error::backend("ONNX Runtime failed to run the model").found(error.to_string()))?;
    outputs.iter().map(|(name, value)| Ok((name.to_owned(), convert::from_ort(&value)?))).collect()
}

/// What a session is opened from.
struct Source {
    environment: Environment,
    model: Model,
    threads: usize,
    as_written: bool,
}

enum Model {
    /// ONNX Runtime reads the file itself, and external data beside it.
    File(PathBuf, usize),
    Bytes {
        bytes: Bytes,
        folder: Option<PathBuf>,
    },
}

impl Source {
    fn new(environment: Environment, model: &ModelBytes, options: &LoadOptions, taps: &[String]) -> Self {
        let model = match model.path() {
            Some(path) if taps.is_empty() => Model::File(path.to_path_buf(), model.bytes().len()),
            _ => Model::Bytes {
                bytes: with_outputs(model.bytes(), taps),
                folder: model.folder().map(|folder| folder.to_path_buf()),
            },
        };
        Self { environment, model, threads: options.threads, as_written: options.as_written }
    }

    fn size(&self) -> usize {
        match &self.model {
            Model::File(_, size) => *size,
            Model::Bytes { bytes, .. } => bytes.len(),
        }
    }

    fn open(&self) -> Result<RawSession> {
        self.try_open()
            .map_err(|error| Error::unsupported("ONNX Runtime does not take the model").found(error.to_string()))
    }

    fn try_open(&self) -> Result<RawSession, ort::Error> {
        let mut builder: SessionBuilder = RawSession::builder(&self.environment)?;
        if self.threads > 0 {
            builder = builder.with_intra_threads(self.threads)?;
        }
        if self.as_written {
            builder = builder.with_optimization_level(GraphOptimizationLevel::Disable)?;
        }
        match &self.model {
            Model::File(path, _) => builder.commit_from_file(path),
            Model::Bytes { bytes, folder } => {
                if let Some(folder) = folder.as_deref().and_then(|folder| folder.to_str()) {
                    builder = builder.with_config_entry(EXTERNAL_FOLDER, folder)?;
                }
                builder.commit_from_memory(bytes)
            }
        }
    }
}

/// The model with more graph outputs. Protobuf merges messages that follow one another, so they are appended as a model
/// that has nothing else.
fn with_outputs(model: &Bytes, names: &[String]) -> Bytes {
    if names.is_empty() {
        return model.clone();
    }
    let output = |name: &String| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() };
    let graph = GraphProto { output: names.iter().map(output).collect(), ..GraphProto::default() };
    let addition = ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec();
    [model.as_ref(), &addition].concat().into()
}
