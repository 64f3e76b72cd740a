//! The command line of onnx-shrink: arguments, the library, an exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
