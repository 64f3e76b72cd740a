//! Presets: names for pipelines.
//!
//! A preset may stand for other presets too, those further up in [`PRESETS`]: so none can contain itself.

/// A name for a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name, used like that of a pass.
    pub name: &'static str,
    /// One line without a full stop.
    pub summary: &'static str,
    /// The passes and presets it stands for; empty for none.
    pub expansion: &'static str,
    /// Whether the passes are repeated until none of them finds anything to do.
    pub repeats: bool,
}

/// Every preset, in the order in which lists show them.
pub const PRESETS: &[Preset] = &[
    Preset { name: "none", summary: "does nothing: writes the model back as it is", expansion: "", repeats: false },
    Preset {
        name: "simplify",
        summary: "removes and merges what costs nothing to remove; trades no accuracy",
        // What old files list as inputs hides constants from all others; identities and operators that do nothing hide
        // constants from folding and neighbours from fusion; folding decides conditions; fusion leaves constants and
        // operators behind that the three before the last see. Stack traces of exporters are of no use to who runs the
        // model, and can be a quarter of the file.
        expansion: "freeze-defaults,eliminate-identity,eliminate-nop,fold-constants,inline-if,inline-loop,\
                    eliminate-carried,fold-reshape,fuse-chains,fuse-bn,fuse-conv,fuse-pad,fuse-activations,fuse-arithmetic,eliminate-common,dedup-initializers,\
                    dce,strip=traces",
        repeats: true,
    },
    Preset {
        name: "deep-compress",
        summary: "few weights that share few values, small once packed by `onnx-shrink pack`; wants inputs",
        // Values are shared by what pruning leaves. A byte for each weight packs best: rows and columns stay in sight.
        expansion: "prune=0.9,cluster=16:form=bytes:min-elements=256",
        repeats: false,
    },
    Preset {
        name: "server",
        summary: "for ONNX Runtime on x86-64 servers: integers where they are faster there, and nothing slower; wants inputs",
        // The runtime is the one at hand, so a clock may decide what stays float.
        expansion: "simplify,quant8=auto:for=ort-x64,strip",
        repeats: false,
    },
    Preset {
        name: "edge",
        summary: "for the processor of a board: 8-bit arithmetic in standard operators that any runtime takes; wants inputs",
        // What is fast on this machine says nothing about the board's.
        expansion: "simplify,quant8=auto:for=generic:timing=false,strip",
        repeats: false,
    },
    Preset {
        name: "mobile",
        summary: "for ONNX Runtime on 64-bit ARM: 8-bit arithmetic with the types its kernels there take; wants inputs",
        expansion: "simplify,quant8=auto:for=ort-arm64:timing=false,strip",
        repeats: false,
    },
    Preset {
        name: "tiny",
        summary: "the smallest file that is safe without a look at it: 4-bit weights, short names, opset 21; inputs help",
        // Fewer values than 16 depend too much on how many samples they are fitted to. Names go last, since the passes before
        // say by them where they were.
        expansion: "simplify,quant4,strip,strip=names",
        repeats: false,
    },
];

impl Preset {
    /// The preset of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}
