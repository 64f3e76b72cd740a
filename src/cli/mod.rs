//! Commands. This module alone writes to standard output (results) and standard error (all else), and sets exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, and within the gate |
//! | 1 | the result drifted too far or is a worse file |
//! | 2 | wrong usage, bad input, or an error |
//! | 3 | no backend here can run the model, so nothing is known |

mod args;
mod budget;
mod check;
mod drift_table;
mod init;
mod inspect;
mod pack;
mod passes;
mod print;
mod progress;
mod recipe;
mod reduce;
mod report;
mod shrink;
mod style;
mod sweep;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue};
use onnx_shrink::error::did_you_mean;
use onnx_shrink::{Error, ErrorKind, Result};

use args::{Cli, Command, Common};

/// Parses the arguments and runs the command they name.
pub(crate) fn main() -> ExitCode {
    let parsed =
        args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (mut cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            if error.use_stderr()
                && let Some(mistake) = mistaken_command().or_else(|| one_too_many(&error))
            {
                style::error(&mistake);
            } else {
                let _ = error.print();
            }
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    start_log(cli.common());
    let completed = recipe::complete(&mut cli.shrink, &matches);
    match completed.and_then(|()| set_threads(cli.common())).and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            style::error(&error);
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => mistaken_command().map_or_else(|| shrink::run(&cli.shrink), Err),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Sweep(args)) => sweep::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Reduce(args)) => reduce::run(&args),
        Some(Command::Init(args)) => init::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Print(args)) => print::run(&args),
        Some(Command::Pack(args)) => pack::pack(&args),
        Some(Command::Unpack(args)) => pack::unpack(&args),
        Some(Command::Passes(args)) => passes::run(&args),
        Some(Command::Completions { shell }) => completions(shell),
    }
}

/// The error for a command with a typo in its name, which would be taken for a model.
fn mistaken_command() -> Option<Error> {
    let first = std::env::args_os().nth(1)?.into_string().ok()?;
    if std::path::Path::new(&first).exists() {
        return None;
    }
    let command = args::command();
    let meant = did_you_mean(&first, command.get_subcommands().map(clap::Command::get_name))?;
    (meant != first).then(|| {
        Error::usage(format!("`{first}` is no command, and there is no model of that name"))
            .help(format!("did you mean `{meant}`?"))
    })
}

/// The error for a second model, which would be taken for a command.
fn one_too_many(error: &clap::Error) -> Option<Error> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    if args::command().get_subcommands().any(|command| command.get_name() == name) {
        let error = Error::usage(format!("the command `{name}` comes too late"));
        return Some(error.help(format!("put it in front: onnx-shrink {name} ...")));
    }
    Some(
        Error::usage(format!("`{name}` is one argument too many"))
            .expected("one model")
            .help("run onnx-shrink once for each model; `check` compares two"),
    )
}

fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Drift | ErrorKind::WorseFile => 1,
        ErrorKind::CannotValidate => 3,
        _ => 2,
    }
}

/// Log lines go to standard error: those `RUST_LOG` selects, else more of this crate's the more `-v` there are.
fn start_log(common: &Common) {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match (from_environment, common.verbose) {
        (Some(filter), _) => filter,
        (None, 0) => return,
        (None, 1) => "onnx_shrink=info".to_owned(),
        (None, 2) => "onnx_shrink=debug".to_owned(),
        (None, _) => "trace".to_owned(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(style::colours())
        .without_time()
        .init();
}

fn set_threads(common: &Common) -> Result<()> {
    let Some(threads) = common.threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(threads))
        .build_global()
        .map_err(|e| Error::usage(format!("cannot start {threads} threads: {e}")))
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "onnx-shrink", &mut script);
    to_stdout(&script)
}

/// Writes a result.
fn to_stdout(text: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text).and_then(|()| stdout.flush()))
}

/// What came of writing a result. A reader that has seen enough and closed the pipe is no error.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, format!("cannot write to standard output: {e}")).with_source(e))
        }
        _ => Ok(()),
    }
}

/// Writes a result as JSON.
fn to_stdout_json(value: &impl serde::Serialize) -> Result<()> {
    to_stdout(&json(value)?)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(ErrorKind::Io, format!("cannot write the report: {e}")))?;
    text.push(b'\n');
    Ok(text)
}
