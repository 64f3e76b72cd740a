//! Attention: heads, and the inner width of what stands between them.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("vit_fused_qkv", vit()),
        ("bert", bert()),
        ("bert_computed_shapes", computed()),
        ("gpt_grouped_queries", gpt()),
        ("swin_windows", swin()),
        ("t5_rms_gated", t5()),
        ("linear_attention", linear_attention()),
        ("mlp_mixer", mixer()),
        ("nonlocal_block", nonlocal()),
        ("perceiver_cross", cross()),
    ]
}

const LENGTH: usize = 6;

/// Splits the last axis into heads: `[1, heads, length, width / heads]`.
fn heads(net: &mut Net, x: &str, heads: i64, width: i64) -> String {
    let split = net.reshape(x, &[0, -1, heads, width / heads]);
    net.transpose(&split, &[0, 2, 1, 3])
}

/// Softmax attention over heads, merged again.
fn attend(net: &mut Net, [q, k, v]: [&str; 3], width: i64, size: f32) -> String {
    let turned = net.transpose(k, &[0, 1, 3, 2]);
    let scores = net.op("MatMul", &[q, &turned], "");
    let root = net.scalar(size.sqrt());
    let scores = net.op("Div", &[&scores, &root], "");
    let shares = net.op("Softmax", &[&scores], "axis = -1");
    let mixed = net.op("MatMul", &[&shares, v], "");
    let back = net.transpose(&mixed, &[0, 2, 1, 3]);
    net.reshape(&back, &[0, -1, width])
}

fn feed_forward(net: &mut Net, x: &str, width: usize, inner: usize) -> String {
    let a = net.linear(x, [width, inner]);
    let a = net.gelu(&a);
    net.linear(&a, [inner, width])
}

fn vit() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let patches = net.conv(&x, [3, 16], 4, 4, 1);
    let patches = net.reshape(&patches, &[1, 16, -1]);
    let x = net.transpose(&patches, &[0, 2, 1]);
    let class = net.weight("token", &[1, 1, 16]);
    let x = net.op("Concat", &[&class, &x], "axis = 1");
    let n = net.layer_norm(&x, 16);
    let qkv = net.linear(&n, [16, 48]);
    let qkv = net.reshape(&qkv, &[1, -1, 3, 4, 4]);
    let qkv = net.transpose(&qkv, &[2, 0, 3, 1, 4]);
    let parts: Vec<String> = (0..3)
        .map(|place| {
            let index = net.index(place);
            net.op("Gather", &[&qkv, &index], "axis = 0")
        })
        .collect();
    let mixed = attend(&mut net, [&parts[0], &parts[1], &parts[2]], 16, 4.0);
    let out = net.linear(&mixed, [16, 16]);
    let x = net.op("Add", &[&x, &out], "");
    let n = net.layer_norm(&x, 16);
    let f = feed_forward(&mut net, &n, 16, 32);
    let x = net.op("Add", &[&x, &f], "");
    let first = net.index(0);
    let x = net.op("Gather", &[&x, &first], "axis = 1");
    let y = net.gemm(&x, [16, 5]);
    net.finish(&[&y])
}

fn bert() -> Model {
    let mut net = Net::default();
    let ids = net.input("ids", &format!("int64[1,{LENGTH}]"));
    let table = net.weight("table", &[20, 16]);
    let x = net.op("Gather", &[&table, &ids], "");
    let places = net.weight("places", &[1, LENGTH, 16]);
    let x = net.op("Add", &[&x, &places], "");
    let mut x = net.layer_norm(&x, 16);
    for _ in 0..2 {
        let [q, k, v] = [0; 3].map(|_| {
            let p = net.linear(&x, [16, 16]);
            heads(&mut net, &p, 4, 16)
        });
        let mixed = attend(&mut net, [&q, &k, &v], 16, 4.0);
        let out = net.linear(&mixed, [16, 16]);
        let sum = net.op("Add", &[&out, &x], "");
        let a = net.layer_norm(&sum, 16);
        let f = feed_forward(&mut net, &a, 16, 32);
        let sum = net.op("Add", &[&f, &a], "");
        x = net.layer_norm(&sum, 16);
    }
    let first = net.index(0);
    let x = net.op("Gather", &[&x, &first], "axis = 1");
    let p = net.gemm(&x, [16, 16]);
    let p = net.unary("Tanh", &p);
    let y = net.gemm(&p, [16, 3]);
    net.finish(&[&y])
}

/// Batch and length are names, and shapes are computed from the input, as exporters of transformers do.
fn computed() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[N,L,12]");
    let shape = net.unary("Shape", &x);
    let (zero, one) = (net.ints(&[0]), net.ints(&[1]));
    let batch = net.op("Gather", &[&shape, &zero], "");
    let length = net.op("Gather", &[&shape, &one], "");
    let (count, size, width) = (net.ints(&[4]), net.ints(&[3]), net.ints(&[12]));
    let target = net.op("Concat", &[&batch, &length, &count, &size], "axis = 0");
    let back = net.op("Concat", &[&batch, &length, &width], "axis = 0");
    let [q, k, v] = [0; 3].map(|_| {
        let p = net.linear(&x, [12, 12]);
        let p = net.op("Reshape", &[&p, &target], "");
        net.transpose(&p, &[0, 2, 1, 3])
    });
    let turned = net.transpose(&k, &[0, 1, 3, 2]);
    let scores = net.op("MatMul", &[&q, &turned], "");
    let shares = net.op("Softmax", &[&scores], "axis = -1");
    let mixed = net.op("MatMul", &[&shares, &v], "");
    let mixed = net.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = net.op("Reshape", &[&mixed, &back], "");
    let out = net.linear(&mixed, [12, 12]);
    let y = net.op("Add", &[&out, &x], "");
    net.finish(&[&y])
}

/// Four queries for two keys, which are repeated by Expand.
fn gpt() -> Model {
    let (mut net, x) = Net::sequence(LENGTH, 16);
    let n = net.layer_norm(&x, 16);
    let q = net.linear(&n, [16, 16]);
    let q = heads(&mut net, &q, 4, 16);
    let [k, v] = [0; 2].map(|_| {
        let p = net.linear(&n, [16, 8]);
        let p = heads(&mut net, &p, 2, 8);
        let p = net.reshape(&p, &[1, 2, 1, LENGTH as i64, 4]);
        let shape = net.ints(&[1, 2, 2, LENGTH as i64, 4]);
        let p = net.op("Expand", &[&p, &shape], "");
        net.reshape(&p, &[1, 4, LENGTH as i64, 4])
    });
    // Rotary positions: the halves of a head are turned against each other.
    let (zero, two, all, axis) = (net.ints(&[0]), net.ints(&[2]), net.ints(&[i64::MAX]), net.ints(&[3]));
    let low = net.op("Slice", &[&q, &zero, &two, &axis], "");
    let high = net.op("Slice", &[&q, &two, &all, &axis], "");
    let high = net.unary("Neg", &high);
    let turned = net.op("Concat", &[&high, &low], "axis = 3");
    let (cos, sin) = (net.weight("cos", &[1, 1, LENGTH, 4]), net.weight("sin", &[1, 1, LENGTH, 4]));
    let a = net.op("Mul", &[&q, &cos], "");
    let b = net.op("Mul", &[&turned, &sin], "");
    let q = net.op("Add", &[&a, &b], "");
    let mixed = attend(&mut net, [&q, &k, &v], 16, 4.0);
    let out = net.linear(&mixed, [16, 16]);
    let x = net.op("Add", &[&x, &out], "");
    let n = net.layer_norm(&x, 16);
    let f = feed_forward(&mut net, &n, 16, 24);
    let y = net.op("Add", &[&x, &f], "");
    net.finish(&[&y])
}

/// Windows of 2 x 2 in an image of 4 x 4, with a bias for each head.
fn swin() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[1,4,4,12]");
    let n = net.layer_norm(&x, 12);
    let windows = net.reshape(&n, &[1, 2, 2, 2, 2, 12]);
    let windows = net.transpose(&windows, &[0, 1, 3, 2, 4, 5]);
    let windows = net.reshape(&windows, &[4, 4, 12]);
    let qkv = net.linear(&windows, [12, 36]);
    let qkv = net.reshape(&qkv, &[4, 4, 3, 2, 6]);
    let qkv = net.transpose(&qkv, &[2, 0, 3, 1, 4]);
    let parts = net.many("Split", &[&qkv], "axis = 0, num_outputs = 3", 3);
    let first = net.ints(&[0]);
    let parts: Vec<String> = parts.iter().map(|part| net.op("Squeeze", &[part, &first], "")).collect();
    let turned = net.transpose(&parts[1], &[0, 1, 3, 2]);
    let scores = net.op("MatMul", &[&parts[0], &turned], "");
    let bias = net.weight("bias", &[1, 2, 4, 4]);
    let scores = net.op("Add", &[&scores, &bias], "");
    let shares = net.op("Softmax", &[&scores], "axis = -1");
    let mixed = net.op("MatMul", &[&shares, &parts[2]], "");
    let mixed = net.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = net.reshape(&mixed, &[4, 4, 12]);
    let out = net.linear(&mixed, [12, 12]);
    let back = net.reshape(&out, &[1, 2, 2, 2, 2, 12]);
    let back = net.transpose(&back, &[0, 1, 3, 2, 4, 5]);
    let back = net.reshape(&back, &[1, 4, 4, 12]);
    let x = net.op("Add", &[&x, &back], "");
    let n = net.layer_norm(&x, 12);
    let f = feed_forward(&mut net, &n, 12, 24);
    let y = net.op("Add", &[&x, &f], "");
    net.finish(&[&y])
}

/// A root mean square norm made of single operators, and a gated feed-forward layer.
fn t5() -> Model {
    let (mut net, x) = Net::sequence(LENGTH, 8);
    let two = net.scalar(2.0);
    let square = net.op("Pow", &[&x, &two], "");
    let axes = net.ints(&[-1]);
    let mean = net.op("ReduceMean", &[&square, &axes], "");
    let small = net.scalar(1e-6);
    let mean = net.op("Add", &[&mean, &small], "");
    let root = net.unary("Sqrt", &mean);
    let n = net.op("Div", &[&x, &root], "");
    let gamma = net.weight("gamma", &[8]);
    let n = net.op("Mul", &[&gamma, &n], "");
    let gate = net.linear(&n, [8, 16]);
    let gate = net.gelu(&gate);
    let value = net.linear(&n, [8, 16]);
    let inner = net.op("Mul", &[&gate, &value], "");
    let out = net.linear(&inner, [16, 8]);
    let y = net.op("Add", &[&x, &out], "");
    net.finish(&[&y])
}

/// Attention without softmax: sums over channels that must be zero where their weights are.
fn linear_attention() -> Model {
    let (mut net, x) = Net::sequence(LENGTH, 8);
    let (q, k, v) = (net.linear(&x, [8, 8]), net.linear(&x, [8, 8]), net.linear(&x, [8, 12]));
    let (q, k) = (net.unary("Relu", &q), net.unary("Relu", &k));
    let turned = net.transpose(&k, &[0, 2, 1]);
    let memory = net.op("MatMul", &[&turned, &v], "");
    let mixed = net.op("MatMul", &[&q, &memory], "");
    // With sigmoid instead, channels without weights still count.
    let (q2, k2) = (net.linear(&x, [8, 8]), net.linear(&x, [8, 8]));
    let (q2, k2) = (net.unary("Sigmoid", &q2), net.unary("Sigmoid", &k2));
    let turned = net.transpose(&k2, &[0, 2, 1]);
    let scores = net.op("MatMul", &[&q2, &turned], "");
    let more = net.op("MatMul", &[&scores, &v], "");
    let sum = net.op("Add", &[&mixed, &more], "");
    let y = net.linear(&sum, [12, 4]);
    net.finish(&[&y])
}

fn mixer() -> Model {
    let (mut net, x) = Net::sequence(LENGTH, 8);
    let n = net.layer_norm(&x, 8);
    let t = net.transpose(&n, &[0, 2, 1]);
    let a = feed_forward(&mut net, &t, LENGTH, 12);
    let a = net.transpose(&a, &[0, 2, 1]);
    let x = net.op("Add", &[&x, &a], "");
    let n = net.layer_norm(&x, 8);
    let b = feed_forward(&mut net, &n, 8, 16);
    let y = net.op("Add", &[&x, &b], "");
    net.finish(&[&y])
}

/// Attention over the pixels of an image.
fn nonlocal() -> Model {
    let (mut net, x) = Net::image(3, 4);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let (q, k, v) = (net.conv(&x, [8, 4], 1, 1, 1), net.conv(&x, [8, 4], 1, 1, 1), net.conv(&x, [8, 6], 1, 1, 1));
    let q = net.reshape(&q, &[1, 4, 16]);
    let q = net.transpose(&q, &[0, 2, 1]);
    let k = net.reshape(&k, &[1, 4, 16]);
    let scores = net.op("MatMul", &[&q, &k], "");
    let shares = net.op("Softmax", &[&scores], "axis = -1");
    let shares = net.transpose(&shares, &[0, 2, 1]);
    let v = net.reshape(&v, &[1, 6, 16]);
    let mixed = net.op("MatMul", &[&v, &shares], "");
    let mixed = net.reshape(&mixed, &[1, 6, 4, 4]);
    let out = net.conv(&mixed, [6, 8], 1, 1, 1);
    let sum = net.op("Add", &[&x, &out], "");
    let y = net.head(&sum, 8, 4);
    net.finish(&[&y])
}

/// Learnt queries, and batches of heads folded into the batch axis.
fn cross() -> Model {
    let (mut net, x) = Net::sequence(LENGTH, 8);
    let queries = net.weight("queries", &[1, 4, 8]);
    let (q, k, v) = (net.linear(&queries, [8, 8]), net.linear(&x, [8, 8]), net.linear(&x, [8, 8]));
    let fold = |net: &mut Net, x: &str, length: i64| {
        let x = net.reshape(x, &[1, length, 2, 4]);
        let x = net.transpose(&x, &[0, 2, 1, 3]);
        net.reshape(&x, &[-1, length, 4])
    };
    let q = fold(&mut net, &q, 4);
    let k = fold(&mut net, &k, LENGTH as i64);
    let v = fold(&mut net, &v, LENGTH as i64);
    let turned = net.transpose(&k, &[0, 2, 1]);
    let scores = net.op("MatMul", &[&q, &turned], "");
    let shares = net.op("Softmax", &[&scores], "axis = -1");
    let mixed = net.op("MatMul", &[&shares, &v], "");
    let mixed = net.reshape(&mixed, &[1, 2, 4, 4]);
    let mixed = net.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = net.reshape(&mixed, &[1, 4, 8]);
    let out = net.linear(&mixed, [8, 8]);
    let y = net.linear(&out, [8, 3]);
    net.finish(&[&y])
}
