//! Depthwise convolutions, shuffles, gates.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("mobilenet_v1", v1()),
        ("mobilenet_v2", v2()),
        ("mobilenet_v3", v3()),
        ("efficientnet", efficient()),
        ("shufflenet_v1", shuffle_v1()),
        ("shufflenet_v2", shuffle_v2()),
        ("ghostnet", ghost()),
        ("depth_multiplier", multiplier()),
        ("mixnet", mixed()),
    ]
}

fn v1() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.block(&x, [3, 8], 3, 1, 1);
    for [inputs, outputs] in [[8, 16], [16, 16]] {
        let d = net.block(&x, [inputs, inputs], 3, 1, inputs);
        x = net.block(&d, [inputs, outputs], 1, 1, 1);
    }
    let y = net.head(&x, 16, 4);
    net.finish(&[&y])
}

fn six(net: &mut Net, x: &str) -> String {
    let (zero, six) = (net.scalar(0.0), net.scalar(6.0));
    net.op("Clip", &[x, &zero, &six], "")
}

fn v2() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.conv(&x, [3, 8], 3, 1, 1);
    let mut x = six(&mut net, &x);
    for (inputs, outputs, stride) in [(8, 12, 2), (12, 12, 1)] {
        let e = net.conv(&x, [inputs, inputs * 4], 1, 1, 1);
        let e = six(&mut net, &e);
        let d = net.conv(&e, [inputs * 4, inputs * 4], 3, stride, inputs * 4);
        let d = six(&mut net, &d);
        let p = net.conv(&d, [inputs * 4, outputs], 1, 1, 1);
        x = if inputs == outputs { net.op("Add", &[&x, &p], "") } else { p };
    }
    let y = net.head(&x, 12, 4);
    net.finish(&[&y])
}

fn v3() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.conv(&x, [3, 8], 3, 1, 1);
    let x = net.unary("HardSwish", &x);
    let e = net.conv(&x, [8, 16], 1, 1, 1);
    // As old exporters write it: x * clip(x + 3, 0, 6) / 6.
    let (three, sixth) = (net.scalar(3.0), net.scalar(6.0));
    let shifted = net.op("Add", &[&e, &three], "");
    let clipped = six(&mut net, &shifted);
    let product = net.op("Mul", &[&e, &clipped], "");
    let e = net.op("Div", &[&product, &sixth], "");
    let d = net.conv(&e, [16, 16], 5, 1, 16);
    let pooled = net.unary("GlobalAveragePool", &d);
    let s = net.conv(&pooled, [16, 4], 1, 1, 1);
    let s = net.unary("Relu", &s);
    let s = net.conv(&s, [4, 16], 1, 1, 1);
    let s = net.unary("HardSigmoid", &s);
    let d = net.op("Mul", &[&d, &s], "");
    let p = net.conv(&d, [16, 8], 1, 1, 1);
    let sum = net.op("Add", &[&x, &p], "");
    let y = net.head(&sum, 8, 4);
    net.finish(&[&y])
}

fn efficient() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.conv(&x, [3, 8], 3, 1, 1);
    let x = net.norm(&x, 8);
    let mut x = net.swish(&x);
    for _ in 0..2 {
        let e = net.conv(&x, [8, 24], 1, 1, 1);
        let e = net.norm(&e, 24);
        let e = net.swish(&e);
        let d = net.conv(&e, [24, 24], 3, 1, 24);
        let d = net.norm(&d, 24);
        let d = net.swish(&d);
        let axes = net.ints(&[2, 3]);
        let pooled = net.op("ReduceMean", &[&d, &axes], "keepdims = 1");
        let s = net.conv(&pooled, [24, 2], 1, 1, 1);
        let s = net.swish(&s);
        let s = net.conv(&s, [2, 24], 1, 1, 1);
        let s = net.unary("Sigmoid", &s);
        let d = net.op("Mul", &[&s, &d], "");
        let p = net.conv(&d, [24, 8], 1, 1, 1);
        let p = net.norm(&p, 8);
        x = net.op("Add", &[&p, &x], "");
    }
    let y = net.head(&x, 8, 4);
    net.finish(&[&y])
}

fn shuffled(net: &mut Net, x: &str, groups: i64, channels: i64, size: i64) -> String {
    let a = net.reshape(x, &[1, groups, channels / groups, size, size]);
    let b = net.transpose(&a, &[0, 2, 1, 3, 4]);
    net.reshape(&b, &[1, channels, size, size])
}

fn shuffle_v1() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 12], 3, 1, 1);
    let a = net.block(&x, [12, 24], 1, 1, 3);
    let a = shuffled(&mut net, &a, 3, 24, 8);
    let d = net.conv(&a, [24, 24], 3, 1, 24);
    let d = net.norm(&d, 24);
    let p = net.conv(&d, [24, 12], 1, 1, 3);
    let p = net.norm(&p, 12);
    let sum = net.op("Add", &[&x, &p], "");
    let y = net.head(&sum, 12, 4);
    net.finish(&[&y])
}

fn shuffle_v2() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.block(&x, [3, 16], 3, 1, 1);
    for _ in 0..2 {
        let parts = net.many("Split", &[&x], "axis = 1, num_outputs = 2", 2);
        let a = net.block(&parts[1], [8, 8], 1, 1, 1);
        let d = net.conv(&a, [8, 8], 3, 1, 8);
        let d = net.norm(&d, 8);
        let b = net.block(&d, [8, 8], 1, 1, 1);
        let both = net.op("Concat", &[&parts[0], &b], "axis = 1");
        x = shuffled(&mut net, &both, 2, 16, 8);
    }
    let last = net.block(&x, [16, 24], 1, 1, 1);
    let y = net.head(&last, 24, 4);
    net.finish(&[&y])
}

fn ghost() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.block(&x, [3, 8], 1, 1, 1);
    let b = net.block(&a, [8, 8], 3, 1, 8);
    let both = net.op("Concat", &[&a, &b], "axis = 1");
    let c = net.block(&both, [16, 8], 1, 1, 1);
    let y = net.head(&c, 8, 4);
    net.finish(&[&y])
}

fn multiplier() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let w = net.weight("w", &[16, 1, 3, 3]);
    let d = net.op("Conv", &[&x, &w], "group = 8");
    let p = net.conv(&d, [16, 8], 1, 1, 1);
    let y = net.head(&p, 8, 4);
    net.finish(&[&y])
}

/// Depthwise kernels of several sizes, each on a part of the channels.
fn mixed() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 12], 3, 1, 1);
    let parts = net.many("Split", &[&x], "axis = 1, num_outputs = 3", 3);
    let sizes = [3, 5, 7];
    let done: Vec<String> =
        parts.iter().zip(sizes).map(|(part, kernel)| net.conv(part, [4, 4], kernel, 1, 4)).collect();
    let parts: Vec<&str> = done.iter().map(String::as_str).collect();
    let all = net.op("Concat", &parts, "axis = 1");
    let p = net.block(&all, [12, 8], 1, 1, 1);
    let y = net.head(&p, 8, 4);
    net.finish(&[&y])
}
