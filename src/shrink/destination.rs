//! Where a result goes.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::output::is_same_place;

/// A path for the result and a name for its side file that neither of them takes from the input.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) path: PathBuf,
    pub(super) side_name: String,
}

impl Destination {
    /// Checks the output a user named. Without one, the result goes to the folder for temporary files, from where it
    /// is never moved.
    ///
    /// # Errors
    /// Fails where the output is a side file of the input, or is to be a packed file.
    pub(super) fn choose(input: &Input, output: Option<&Path>) -> Result<Self> {
        let Some(path) = output.map(Path::to_owned) else {
            let name = format!("onnx-shrink-{}.onnx", std::process::id());
            return Ok(Self { path: std::env::temp_dir().join(&name), side_name: name + ".data" });
        };
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnxz")) {
            return Err(Error::usage("the result is an ONNX model, which packing comes after")
                .expected("an output like `small.onnx`")
                .found(format!("`{}`", path.display()))
                .help("onnx-shrink pack small.onnx -o small.onnxz"));
        }
        if let Some(side) = input.side_files.keys().find(|side| is_same_place(side, &path)) {
            return Err(Error::usage(format!(
                "the output `{}` is a file the input reads its weights from",
                path.display()
            ))
            .found(format!("`{}` with the side file `{}`", input.path.display(), side.display()))
            .help("name another output"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let taken = |side_name: &str| {
            let side = folder.join(side_name);
            let is_of_input = input.side_files.keys().any(|file| is_same_place(file, &side));
            // While the input is replaced, neither version may lose its side file.
            is_of_input || (is_same_place(&input.path, &path) && side.exists())
        };
        let mut side_name = format!("{name}.data");
        for number in 2_u32.. {
            if !taken(&side_name) {
                break;
            }
            side_name = format!("{name}.{number}.data");
        }
        Ok(Self { path, side_name })
    }
}
