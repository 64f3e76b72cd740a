//! The command line of onnx-shrink: arguments, the library, an exit code.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Graphs are many small allocations: a sixth of the time of a run without validation went into those of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
