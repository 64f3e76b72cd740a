//! Recurrent layers: a hidden unit has rows in every gate.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("lstm_tagger", tagger()),
        ("lstm_stacked", stacked()),
        ("gru_classifier", gru()),
        ("rnn_with_state", stateful()),
        ("crnn_ocr", crnn()),
    ]
}

const LENGTH: i64 = 5;

/// A recurrent layer over `[length, 1, inputs]`; both outputs.
fn layer(net: &mut Net, op: &str, x: &str, [inputs, hidden]: [usize; 2], ways: usize) -> Vec<String> {
    let gates = match op {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let w = net.weight("w", &[ways, gates * hidden, inputs]);
    let r = net.weight("w", &[ways, gates * hidden, hidden]);
    let b = net.weight("b", &[ways, 2 * gates * hidden]);
    let direction = if ways == 2 { "bidirectional" } else { "forward" };
    let attributes = format!("hidden_size = {hidden}, direction = \"{direction}\"");
    net.many(op, &[x, &w, &r, &b], &attributes, 2)
}

/// Embedding, both directions side by side, a class for each step.
fn tagger() -> Model {
    let mut net = Net::default();
    let ids = net.input("ids", &format!("int64[{LENGTH},1]"));
    let table = net.weight("table", &[20, 8]);
    let x = net.op("Gather", &[&table, &ids], "");
    let y = layer(&mut net, "LSTM", &x, [8, 12], 2).remove(0);
    let y = net.transpose(&y, &[0, 2, 1, 3]);
    let y = net.reshape(&y, &[LENGTH, 1, 24]);
    let y = net.linear(&y, [24, 4]);
    net.finish(&[&y])
}

fn stacked() -> Model {
    let mut net = Net::default();
    let mut x = net.input("x", &format!("float[{LENGTH},N,6]"));
    let mut inputs = 6;
    for hidden in [8, 12] {
        let y = layer(&mut net, "LSTM", &x, [inputs, hidden], 1).remove(0);
        let axes = net.ints(&[1]);
        x = net.op("Squeeze", &[&y, &axes], "");
        inputs = hidden;
    }
    let y = net.linear(&x, [12, 4]);
    net.finish(&[&y])
}

fn gru() -> Model {
    let mut net = Net::default();
    let x = net.input("x", &format!("float[{LENGTH},1,6]"));
    let x = net.linear(&x, [6, 8]);
    let last = layer(&mut net, "GRU", &x, [8, 10], 1).remove(1);
    let axes = net.ints(&[0]);
    let last = net.op("Squeeze", &[&last, &axes], "");
    let y = net.gemm(&last, [10, 3]);
    net.finish(&[&y])
}

/// The state comes in from the caller and goes back: its width is promised.
fn stateful() -> Model {
    let mut net = Net::default();
    let x = net.input("x", &format!("float[{LENGTH},1,6]"));
    let state = net.input("state", "float[1,1,8]");
    let x = net.linear(&x, [6, 10]);
    let (w, r) = (net.weight("w", &[1, 8, 10]), net.weight("w", &[1, 8, 8]));
    let outputs = net.many("RNN", &[&x, &w, &r, "", "", &state], "hidden_size = 8", 2);
    let axes = net.ints(&[1]);
    let y = net.op("Squeeze", &[&outputs[0], &axes], "");
    let y = net.linear(&y, [8, 3]);
    net.finish(&[&y, &outputs[1]])
}

fn crnn() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[1,1,8,W]");
    let x = net.block(&x, [1, 8], 3, 2, 1);
    let x = net.block(&x, [8, 12], 3, 1, 1);
    let pooled = net.op("MaxPool", &[&x], "kernel_shape = [4, 1], strides = [4, 1]");
    let axes = net.ints(&[2]);
    let flat = net.op("Squeeze", &[&pooled, &axes], "");
    let steps = net.transpose(&flat, &[2, 0, 1]);
    let y = layer(&mut net, "LSTM", &steps, [12, 8], 2).remove(0);
    let y = net.transpose(&y, &[0, 2, 1, 3]);
    let shape = net.ints(&[0, 0, -1]);
    let y = net.op("Reshape", &[&y, &shape], "");
    let y = net.linear(&y, [16, 5]);
    let y = net.op("Softmax", &[&y], "axis = 2");
    net.finish(&[&y])
}
