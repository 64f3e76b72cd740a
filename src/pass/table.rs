//! The table of passes, as the README shows it.

use super::{OptSpec, PassInfo};

/// The passes as a Markdown table, from what they say of themselves.
pub fn markdown_table(passes: &[PassInfo]) -> String {
    let mut table = String::from("| pass | effect | what it does | options |\n|---|---|---|---|\n");
    for pass in passes {
        let options: Vec<String> = pass.options.iter().map(option).collect();
        table.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            pass.name,
            pass.effect,
            cell(pass.summary),
            options.join(", ")
        ));
    }
    table
}

fn option(option: &OptSpec) -> String {
    match option.default {
        Some(default) => format!("`{}={default}`", option.key),
        None => format!("`{}=`", option.key),
    }
}

/// Text as a table cell: a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
