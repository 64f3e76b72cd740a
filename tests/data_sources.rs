//! Folders of images and sound, lines of JSON and of token ids, through the library and the built binary.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use onnx_shrink::Result;
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::text;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Opens data below the folder for the inputs of a model, as its textual form names them.
    fn open(&self, spec: &str, inputs: &str) -> Result<Box<dyn Samples>> {
        let names: Vec<&str> = inputs.split(", ").map(|input| input.rsplit(' ').next().unwrap()).collect();
        let model = format!("g ({inputs}) => ({}) {{ y = Identity({}) }}", output(inputs), names[0]);
        let model = text::parse(&model).unwrap_or_else(|e| panic!("{e}"));
        let spec = self.0.path().join(spec);
        let options = DataOptions { signature: &model.signature(), seed: 0, hints: &Hints::default(), limit: None };
        data::open(spec.to_str().unwrap(), &options)
    }

    #[track_caller]
    fn refusal(&self, spec: &str, inputs: &str) -> String {
        self.open(spec, inputs).unwrap_err().to_string()
    }
}

fn output(inputs: &str) -> String {
    let first = inputs.split(", ").next().unwrap();
    format!("{} y", first.rsplit_once(' ').unwrap().0)
}

fn floats(samples: &dyn Samples, index: usize) -> (Vec<u64>, Vec<f32>) {
    let tensor = samples.get(index).unwrap().remove(0).1;
    (tensor.shape().to_vec(), tensor.to_f32().unwrap())
}

#[test]
fn a_constant_colour_becomes_what_mean_and_deviation_make_of_it() {
    let folder = Folder::new();
    RgbImage::from_pixel(6, 4, Rgb([51, 102, 255])).save(folder.path("i/a.png")).unwrap();
    let spec = "i:mean=0.2/0.5/0.5:std=0.5/0.1/0.25";
    let samples = folder.open(spec, "float[N,3,2,2] x").unwrap();
    let (shape, values) = floats(&*samples, 0);
    assert_eq!(shape, [1, 3, 2, 2]);
    let near = |found: f32, wanted: f32| assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    for (channel, wanted) in [0.0, -1.0, 2.0].into_iter().enumerate() {
        values[channel * 4..][..4].iter().for_each(|&value| near(value, wanted));
    }
    let words = samples.describe();
    assert!(words.contains("mean=0.2/0.5/0.5:std=0.5/0.1/0.25, assumed"), "{words}");
    assert!(words.contains("resize=2:crop=2:layout=nchw:order=rgb:scale=1/255"), "{words}");
    // Channels last, blue first, raw bytes.
    let bytes = folder.open("i,order=bgr".replace(',', ":").as_str(), "uint8[1,2,2,3] x").unwrap();
    let tensor = bytes.get(0).unwrap().remove(0).1;
    assert_eq!((tensor.shape(), &tensor.data()[..6]), (&[1, 2, 2, 3][..], &[255, 102, 51, 255, 102, 51][..]));
}

#[test]
fn a_crop_is_cut_from_the_middle() {
    let folder = Folder::new();
    let image = GrayImage::from_fn(7, 5, |x, y| Luma([(10 * y + x) as u8]));
    for name in ["i/a.png", "i/b.bmp", "i/c.webp"] {
        image.save(folder.path(name)).unwrap();
    }
    let samples = folder.open("i:resize=none:scale=1", "float[N,1,3,2] x").unwrap();
    // 2 rows over: 1 above. 5 columns over: of 2 and 3 on the left the even one.
    for index in 0..3 {
        assert_eq!(floats(&*samples, index), (vec![1, 1, 3, 2], vec![12.0, 13.0, 22.0, 23.0, 32.0, 33.0]));
    }
    let refused = folder.refusal("i:resize=none", "float[N,1,8,2] x");
    assert!(refused.contains("a.png") && refused.contains("too small"), "{refused}");
}

#[test]
fn a_fixed_batch_takes_several_images() {
    let folder = Folder::new();
    for value in 0..5 {
        GrayImage::from_pixel(2, 2, Luma([value])).save(folder.path(&format!("i/{value}.png"))).unwrap();
    }
    let samples = folder.open("i:scale=1", "float[2,1,1,1] x").unwrap();
    assert_eq!((samples.len(), floats(&*samples, 1)), (2, (vec![2, 1, 1, 1], vec![2.0, 3.0])));
    assert!(samples.describe().contains("4 of 5 used"), "{}", samples.describe());
    assert_eq!(folder.open("i:limit=3", "float[1,1,1,1] x").unwrap().len(), 3);
}

#[test]
fn classes_are_positions_or_numbers_of_folders_and_take_turns() {
    let folder = Folder::new();
    for name in ["words/cat/a.png", "words/cat/b.png", "words/ant/c.png", "numbers/10/a.png", "numbers/2/b.png"] {
        GrayImage::from_pixel(1, 1, Luma([0])).save(folder.path(name)).unwrap();
    }
    fs::write(folder.path("words/ant/notes.txt"), "no image").unwrap();
    let labels = |spec: &str| {
        let samples = folder.open(spec, "float[N,1,1,1] x").unwrap();
        let labels: Vec<i64> = (0..samples.len()).map(|index| samples.label(index).unwrap()[0]).collect();
        (labels, samples.describe())
    };
    let (words, text) = labels("words");
    assert_eq!(words, [0, 1, 1]);
    assert!(text.contains("in 2 classes") && text.contains("without 1 other file (`notes.txt`)"), "{text}");
    assert_eq!(labels("numbers").0, [2, 10]);
}

#[test]
fn mistakes_name_the_file_or_the_option() {
    let folder = Folder::new();
    GrayImage::from_pixel(4, 4, Luma([9])).save(folder.path("good/a.png")).unwrap();
    fs::write(folder.path("broken/b.png"), "no image").unwrap();
    fs::create_dir(folder.path("empty")).unwrap();
    let image = "float[N,1,2,2] x";
    let says = |spec: &str, inputs: &str, parts: &[&str]| {
        let error = folder.refusal(spec, inputs);
        parts.iter().for_each(|part| assert!(error.contains(part), "{spec}: {error}"));
    };
    says("broken", image, &["b.png", "no readable image"]);
    says("empty", image, &["empty", "no input data"]);
    says("good:cropp=2", image, &["no option `cropp`", "did you mean `crop`?"]);
    says("good:crop=3", image, &["`crop` does not fit", "float[N,1,2,2] x"]);
    says("good:mean=1/2", image, &["`mean`", "wrong number"]);
    says("good:std=0", image, &["`std`"]);
    says("good:scale=1/0", image, &["`scale`", "1/0"]);
    says("good", "float[N,1,H,W] x", &["leaves the size of images open", "crop=224"]);
    says("good", "float[N,4] x", &["does not look like an image"]);
    says("good:scale=2", "uint8[N,1,2,2] x", &["8-bit integers"]);
    says("good:order=bgr", image, &["`order`", "grey"]);
    says("none:crop=2", image, &["none` does not exist"]);
}

fn sound(path: &Path, rate: u32, channels: u16, values: &[i16]) {
    let spec =
        hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    values.iter().for_each(|&value| writer.write_sample(value).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn sound_becomes_a_wave_of_one_channel() {
    let folder = Folder::new();
    sound(&folder.path("s/a.wav"), 16_000, 1, &[16_384, -32_768, 8_192]);
    sound(&folder.path("s/b.wav"), 16_000, 2, &[16_384, 0, 0, -16_384]);
    let samples = folder.open("s", "float[1,N] x").unwrap();
    assert_eq!(floats(&*samples, 0), (vec![1, 3], vec![0.5, -1.0, 0.25]));
    assert_eq!(floats(&*samples, 1), (vec![1, 2], vec![0.25, -0.25]));
    let samples = folder.open("s:scale=32768:rate=16000", "float[N,1,4] x").unwrap();
    assert_eq!(floats(&*samples, 1), (vec![1, 1, 4], vec![8_192.0, -8_192.0, 0.0, 0.0]));
    sound(&folder.path("s/c.wav"), 8_000, 1, &[1]);
    let error = folder.refusal("s", "float[1,N] x");
    assert!(error.contains("c.wav") && error.contains("16000") && error.contains("8000"), "{error}");
    fs::write(folder.path("s/c.wav"), "no sound").unwrap();
    let error = folder.refusal("s", "float[1,N] x");
    assert!(error.contains("c.wav") && error.contains("no readable sound"), "{error}");
}

#[test]
fn lines_of_json_hold_inputs_by_name() {
    let folder = Folder::new();
    let inputs = "float[N,2] x, int64[N,1] k";
    let lines = "{\"x\": [1, 2.5], \"k\": [7], \"label\": 3}\n\n{\"k\": [[8]], \"x\": [[3, 4]], \"label\": [1]}\n";
    fs::write(folder.path("a.jsonl"), lines).unwrap();
    let samples = folder.open("a.jsonl", inputs).unwrap();
    assert_eq!((samples.len(), samples.label(0), samples.label(1)), (2, Some(vec![3]), Some(vec![1])));
    assert_eq!(floats(&*samples, 0), (vec![1, 2], vec![1.0, 2.5]));
    assert_eq!(samples.get(1).unwrap()[1].1.to_i64(), Some(vec![8]));
    fs::write(folder.path("b.jsonl"), "[1, 2]\n[3, 4]").unwrap();
    assert_eq!(floats(&*folder.open("b.jsonl", "float[N,2] x").unwrap(), 1), (vec![1, 2], vec![3.0, 4.0]));
    for (line, part) in [
        ("[1, 2", "no JSON"),
        ("[1, 2, 3]", "float[N,2] x"),
        ("[[1, 2], [3]]", "differ in length"),
        ("[1, \"a\"]", "another kind"),
        ("{\"y\": [1, 2]}", "did you mean `x`"),
        ("{\"x\": [1, 2], \"lable\": 1}", "did you mean `label`?"),
    ] {
        fs::write(folder.path("c.jsonl"), format!("[1, 2]\n{line}\n")).unwrap();
        let error = folder.refusal("c.jsonl", "float[N,2] x");
        assert!(error.contains(part) && error.contains("c.jsonl:2"), "{line}: {error}");
    }
}

#[test]
fn token_ids_are_filled_up_and_masked() {
    let folder = Folder::new();
    let inputs = "int64[N,S] input_ids, int64[N,S] attention_mask, int32[N,S] token_type_ids";
    fs::write(folder.path("a.csv"), "5, 6,7\n8\n").unwrap();
    let row = |samples: &dyn Samples, index: usize| -> Vec<Vec<i64>> {
        samples.get(index).unwrap().iter().map(|(_, tensor)| tensor.to_i64().unwrap()).collect()
    };
    let samples = folder.open("a.csv:pad=9", inputs).unwrap();
    assert_eq!(row(&*samples, 0), [[5, 6, 7], [1, 1, 1], [0, 0, 0]]);
    assert_eq!(row(&*samples, 1), [[8, 9, 9], [1, 0, 0], [0, 0, 0]]);
    assert_eq!(row(&*folder.open("a.csv", inputs).unwrap(), 1), [[8], [1], [0]]);
    let fixed = folder.open("a.csv", "int64[2,4] input_ids, int64[2,4] attention_mask").unwrap();
    assert_eq!(row(&*fixed, 0), [[5, 6, 7, 0, 8, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0]]);
    assert!(fixed.describe().contains("assumed pad=0"), "{}", fixed.describe());
    let error = folder.refusal("a.csv:length=2", inputs);
    assert!(error.contains("a.csv:1") && error.contains("too many tokens"), "{error}");
    fs::write(folder.path("b.csv"), "1\n2,x\n").unwrap();
    let error = folder.refusal("b.csv", inputs);
    assert!(error.contains("b.csv:2") && error.contains("`x`"), "{error}");
    for (text, column) in [("label,ids\n3,5, 6,7\n-1,8\n", 0), ("ids, Label\n5,6,7,3\n8,-1\n", 1)] {
        fs::write(folder.path("l.csv"), text).unwrap();
        let samples = folder.open("l.csv:pad=9", inputs).unwrap();
        assert_eq!(row(&*samples, 0), [[5, 6, 7], [1, 1, 1], [0, 0, 0]], "column {column}");
        assert_eq!(row(&*samples, 1), [[8, 9, 9], [1, 0, 0], [0, 0, 0]], "column {column}");
        assert_eq!([samples.label(0), samples.label(1)], [Some(vec![3]), Some(vec![-1])], "column {column}");
        assert_eq!(samples.len(), 2);
    }
    assert_eq!(folder.open("a.csv", inputs).unwrap().label(0), None);
    for (text, part) in [("label,ids\n3\n", "no token"), ("ids,label,ids\n1,2,3\n", "between the tokens")] {
        fs::write(folder.path("l.csv"), text).unwrap();
        let error = folder.refusal("l.csv", inputs);
        assert!(error.contains(part) && error.contains("l.csv"), "{error}");
    }
    let error = folder.refusal("a.csv:padd=1", inputs);
    assert!(error.contains("did you mean `pad`?"), "{error}");
}

/// The line about accuracy that a run on some data prints.
#[cfg(all(feature = "cli", feature = "tract"))]
fn accuracy(inputs: &str) -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lenet5.onnx");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_onnx-shrink"))
        .args([model.to_str().unwrap(), "-p", "fp16", "--dry-run", "--backend", "tract", "--inputs", inputs])
        .output()
        .unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    assert!(text.contains("digits"), "{text}");
    text.lines().find(|line| line.starts_with("accuracy")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[cfg(all(feature = "cli", feature = "tract"))]
#[test]
fn digits_in_folders_are_classified_like_those_in_an_archive() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/digits_test.npz");
    let arrays = data::read_arrays(&archive).unwrap();
    let labels = arrays["label"].to_i64().unwrap();
    let pixels = arrays["input"].to_f32().unwrap();
    let folder = Folder::new();
    for (index, (label, digit)) in labels.iter().zip(pixels.chunks_exact(28 * 28)).enumerate() {
        let bytes = digit.iter().map(|value| (value * 255.0).round() as u8).collect();
        let image = GrayImage::from_raw(28, 28, bytes).unwrap();
        image.save(folder.path(&format!("digits/{label}/{index:03}.png"))).unwrap();
    }
    let from_images = accuracy(folder.path("digits").to_str().unwrap());
    assert_eq!(from_images, accuracy(archive.to_str().unwrap()));
    assert!(from_images.contains("on 200 labels"), "{from_images}");
}
