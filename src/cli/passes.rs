//! `onnx-shrink passes [NAME]`.

use onnx_shrink::Result;
use onnx_shrink::pass::PassInfo;
use onnx_shrink::pass::pipeline::{PRESETS, Preset, unknown_pass};
use onnx_shrink::passes;

use super::args::PassesArgs;
use super::{style, to_stdout};

pub(super) fn run(args: &PassesArgs) -> Result<()> {
    let text = match &args.name {
        None => list(),
        Some(name) => match (passes::find(name), Preset::find(name)) {
            (Some(info), _) => describe(info),
            (None, Some(preset)) => describe_preset(preset),
            (None, None) => return Err(unknown_pass(name)),
        },
    };
    to_stdout(text.as_bytes())
}

fn list() -> String {
    let mut table = style::table(&["pass", "effect", "what it does"], 3);
    for info in passes::ALL {
        table.add_row([info.name, &info.effect.to_string(), info.summary]);
    }
    let mut presets = style::table(&["preset", "what it does", "stands for"], 3);
    for preset in PRESETS {
        presets.add_row([preset.name, preset.summary, expansion(preset)]);
    }
    format!("{}\n{}", style::lines(&table), style::lines(&presets))
}

fn describe(info: &PassInfo) -> String {
    let mut text = format!("{}: {}\n\n", info.name, info.summary);
    text += &format!("effect on results: {}\nworks on: {}\n", info.effect, info.scope);
    if let Some(opset) = info.min_opset {
        text += &format!("needs: opset {opset} or later\n");
    }
    if info.options.is_empty() {
        return text + "options: none\n";
    }
    let mut table = style::table(&["option", "value", "default", "what it does"], 4);
    for (index, option) in info.options.iter().enumerate() {
        let key = if index == 0 { format!("[{}=]", option.key) } else { format!("{}=", option.key) };
        table.add_row([key, option.kind.describe(), option.default.unwrap_or("-").to_owned(), option.help.to_owned()]);
    }
    text + "\n" + &style::lines(&table)
}

fn describe_preset(preset: &Preset) -> String {
    let repeats = if preset.repeats { ", repeated until nothing changes" } else { "" };
    format!("{}: {}\n\nstands for: {}{repeats}\n", preset.name, preset.summary, expansion(preset))
}

fn expansion(preset: &Preset) -> &'static str {
    if preset.expansion.is_empty() { "no pass" } else { preset.expansion }
}
