//! Whole data sources, on files that `npyz` writes.

use std::fs;
use std::path::PathBuf;

use npyz::npz::NpzWriter;
use npyz::zip::CompressionMethod;
use npyz::zip::write::FileOptions;
use npyz::{AutoSerialize, Order, WriterBuilder};
use prost::Message;

use super::*;
use crate::ir::{DType, Dim, Shape, Tensor, TypedName, ValueType};
use crate::onnx::proto::TensorProto;

fn signature(inputs: &[(&str, DType, &str)]) -> Signature {
    let dim = |text: &str| text.parse().map_or_else(|_| Dim::Sym(text.into()), Dim::Fixed);
    let shape = |text: &str| Shape(text.split(',').filter(|text| !text.is_empty()).map(dim).collect());
    let input = |(name, dtype, text): &(&str, DType, &str)| TypedName {
        name: name.to_string(),
        ty: ValueType::tensor(*dtype, Some(shape(text))),
    };
    Signature { inputs: inputs.iter().map(input).collect(), outputs: vec![] }
}

fn open_spec(spec: &str, signature: &Signature, limit: Option<usize>) -> Result<Box<dyn Samples>> {
    open(spec, &DataOptions { signature, seed: 1, hints: &Hints::default(), limit })
}

/// A folder that holds one archive after another.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str, signature: &Signature) -> Result<Box<dyn Samples>> {
        open_spec(self.path(name).to_str().unwrap(), signature, None)
    }

    fn archive(&self, name: &str, method: CompressionMethod, fill: impl FnOnce(&mut Archive)) {
        let mut archive = Archive { writer: NpzWriter::create(self.path(name)).unwrap(), method };
        fill(&mut archive);
    }
}

struct Archive {
    writer: NpzWriter<std::io::BufWriter<fs::File>>,
    method: CompressionMethod,
}

impl Archive {
    fn array<T: AutoSerialize + Copy>(&mut self, name: &str, shape: &[u64], values: &[T]) -> &mut Self {
        let options = FileOptions::default().compression_method(self.method);
        let mut array = self.writer.array(name, options).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
        array.extend(values.iter().copied()).unwrap();
        array.finish().unwrap();
        self
    }
}

fn npy<T: npyz::Serialize + Copy>(descr: &str, order: Order, shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let dtype = npyz::DType::new_scalar(descr.parse().unwrap());
    let options = npyz::WriteOptions::new().dtype(dtype).shape(shape).order(order).writer(&mut bytes);
    let mut writer = options.begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes.into_inner()
}

/// A header as a hostile file would have it, and no data.
fn header(text: &str) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn an_archive_gives_samples_constants_and_labels() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,2"), ("sr", DType::I64, "")]);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        folder.archive("a.npz", method, |archive| {
            archive.array("x", &[2, 1, 2], &[1.0_f32, 2.0, 3.0, 4.0]).array("sr", &[], &[16_000_i64]);
            archive.array("label", &[2], &[7_i32, 8]);
        });
        let samples = folder.open("a.npz", &signature).unwrap();
        assert_eq!(samples.len(), 2);
        let second = samples.get(1).unwrap();
        assert_eq!((second[0].0.as_str(), second[1].0.as_str()), ("x", "sr"));
        assert_eq!((second[0].1.shape(), second[0].1.to_f32()), (&[1, 2][..], Some(vec![3.0, 4.0])));
        assert_eq!(second[1].1.scalar_i64(), Some(16_000));
        assert_eq!(samples.label(1), Some(vec![8]));
        assert!(samples.get(2).is_err() && samples.label(2).is_none());
        assert!(samples.describe().starts_with("2 samples of"));
    }
}

#[test]
fn large_arrays_stay_in_their_file_whichever_it_is() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,1024")]);
    let (count, each) = (17_u64, 1 << 18);
    let values: Vec<f32> = (0..count as usize * each).map(|i| (i / each) as f32 + (i % 1021) as f32 / 1024.0).collect();
    let shape = [count, 256, 1024];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        folder.archive("a.npz", method, |archive| {
            archive.array("x", &shape, &values).array("label", &[count], &vec![3_i64; count as usize]);
        });
        fs::write(folder.path("b.npy"), npy("<f4", Order::C, &shape, &values)).unwrap();
        for name in ["a.npz", "b.npy"] {
            let samples = folder.open(name, &signature).unwrap();
            assert_eq!(samples.len() as u64, count, "{name}");
            for index in [0, 16, 5] {
                let tensor = &samples.get(index).unwrap()[0].1;
                assert_eq!(tensor.shape(), [256, 1024]);
                assert!(tensor.to_f32().unwrap() == values[index * each..][..each], "{name}, sample {index}");
            }
        }
    }
    // Doubles are converted, in memory.
    let doubles: Vec<f64> = values[..9 * each].iter().map(|&value| value.into()).collect();
    fs::write(folder.path("d.npy"), npy("<f8", Order::C, &[9, 256, 1024], &doubles)).unwrap();
    let tensor = &folder.open("d.npy", &signature).unwrap().get(8).unwrap()[0].1;
    assert!(tensor.to_f32().unwrap() == values[8 * each..9 * each]);
    // A damaged byte is found when the archive is opened.
    folder.archive("a.npz", CompressionMethod::Stored, |archive| {
        archive.array("x", &shape, &values);
    });
    let mut bytes = fs::read(folder.path("a.npz")).unwrap();
    bytes[9 << 20] ^= 1;
    fs::write(folder.path("a.npz"), bytes).unwrap();
    let error = folder.open("a.npz", &signature).unwrap_err().to_string();
    assert!(error.contains("truncated or corrupt"), "{error}");
}

#[test]
fn one_batch_has_a_label_for_each_row() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,1")]);
    folder.archive("a.npz", CompressionMethod::Stored, |archive| {
        archive.array("x", &[3, 1], &[1.0_f32, 2.0, 3.0]).array("label", &[3], &[1_i64, 2, 3]);
    });
    let samples = folder.open("a.npz", &signature).unwrap();
    assert_eq!((samples.len(), samples.label(0)), (1, Some(vec![1, 2, 3])));

    folder.archive("b.npz", CompressionMethod::Stored, |archive| {
        archive.array("x", &[2, 2, 1], &[1.0_f32, 2.0, 3.0, 4.0]).array("label", &[2, 2], &[1_u8, 2, 3, 4]);
    });
    assert_eq!(folder.open("b.npz", &signature).unwrap().label(1), Some(vec![3, 4]));

    folder.archive("c.npz", CompressionMethod::Stored, |archive| {
        archive.array("x", &[2, 1, 1], &[1.0_f32, 2.0]).array("label", &[3], &[1_i64, 2, 3]);
    });
    let error = folder.open("c.npz", &signature).unwrap_err().to_string();
    assert!(error.contains("[2]") && error.contains("int64[3]"), "{error}");
}

#[test]
fn missing_extra_and_disagreeing_arrays_are_named() {
    let folder = Folder::new();
    let signature = signature(&[("input_ids", DType::I64, "b,s"), ("mask", DType::I64, "b,s")]);
    let error = |fill: &dyn Fn(&mut Archive)| {
        folder.archive("a.npz", CompressionMethod::Stored, |archive| fill(archive));
        folder.open("a.npz", &signature).unwrap_err().to_string()
    };
    let misspelt = error(&|archive| {
        archive.array("input_id", &[1, 2], &[1_i64, 2]).array("mask", &[1, 2], &[1_i64, 1]);
    });
    assert!(misspelt.contains("input `input_ids` has no array") && misspelt.contains("`input_id`?"), "{misspelt}");
    let missing = error(&|archive| {
        archive.array("mask", &[1, 2], &[1_i64, 1]);
    });
    assert!(missing.contains("input `input_ids` has no array"), "{missing}");
    let extra = error(&|archive| {
        archive.array("input_ids", &[1, 2], &[1_i64, 2]).array("mask", &[1, 2], &[1_i64, 1]);
        archive.array("labels", &[1], &[1_i64]);
    });
    assert!(extra.contains("array `labels`") && extra.contains("did you mean `label`"), "{extra}");
    let counts = error(&|archive| {
        archive.array("input_ids", &[2, 1, 1], &[1_i64, 2]).array("mask", &[3, 1, 1], &[1_i64, 1, 1]);
    });
    assert!(counts.contains("2 in `mask`, as in `input_ids`") && counts.contains("found:    3"), "{counts}");
}

#[test]
fn wrong_types_and_shapes_are_named_with_both_sides() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,3")]);
    let error = |bytes: Vec<u8>| {
        fs::write(folder.path("x.npy"), bytes).unwrap();
        folder.open("x.npy", &signature).unwrap_err().to_string()
    };
    let shape = error(npy("<f4", Order::C, &[2, 4], &[0.0_f32; 8]));
    assert!(shape.contains("float[N,3]") && shape.contains("float[2,4]"), "{shape}");
    let rank = error(npy("<f4", Order::C, &[3], &[0.0_f32; 3]));
    assert!(rank.contains("float[3]") && rank.contains("rank 2, or of rank 3"), "{rank}");
    let dtype = error(npy("<i8", Order::C, &[1, 3], &[0_i64; 3]));
    assert!(dtype.contains("int64[1,3]") && dtype.contains("float[N,3]"), "{dtype}");
}

#[test]
fn reads_every_byte_and_axis_order() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "2,3")]);
    let expected = Tensor::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let c_order = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let fortran = [1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0];
    for descr in ["<f4", ">f4"] {
        for (order, values) in [(Order::C, c_order), (Order::Fortran, fortran)] {
            fs::write(folder.path("x.npy"), npy(descr, order, &[2, 3], &values)).unwrap();
            let sample = folder.open("x.npy", &signature).unwrap().get(0).unwrap();
            assert!(sample[0].1.same_as(&expected), "{descr} {order:?}");
        }
    }
    let doubles = c_order.map(f64::from);
    fs::write(folder.path("x.npy"), npy("<f8", Order::C, &[2, 3], &doubles)).unwrap();
    let samples = folder.open("x.npy", &signature).unwrap();
    assert!(samples.get(0).unwrap()[0].1.same_as(&expected));
    assert!(samples.describe().contains("`x` double rounded to float"));
}

#[test]
fn reads_strings() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::String, "2")]);
    fs::write(folder.path("u.npy"), npy("<U3", Order::C, &[2], &["ab", "cä"].map(|s| s.to_owned()).each_ref()))
        .unwrap();
    let sample = folder.open("u.npy", &signature).unwrap().get(0).unwrap();
    assert_eq!(sample[0].1.strings().unwrap(), ["ab", "cä"].map(bytes::Bytes::from));
}

#[test]
fn hostile_arrays_are_errors() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,3")]);
    let whole = npy("<f4", Order::C, &[1, 3], &[1.0_f32; 3]);
    let dict = |descr: &str, shape: &str| {
        header(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"))
    };
    let hostile = [
        ("empty file", Vec::new()),
        ("truncated data", whole[..whole.len() - 1].to_vec()),
        ("surplus data", [whole.clone(), vec![0]].concat()),
        ("truncated header", whole[..20].to_vec()),
        ("no magic", b"not an array at all".to_vec()),
        ("objects", dict("'|O'", "(1, 3)")),
        ("records", dict("[('a', '<f4')]", "(1, 3)")),
        ("too many elements", dict("'<f4'", "(1152921504606846976, 3)")),
        ("overflowing elements", dict("'<f4'", "(4294967296, 4294967296, 3)")),
        ("overflowing past a zero", dict("'<f4'", "(4294967296, 4294967296, 0)")),
        ("an extent past 64 bits", dict("'<f4'", "(99999999999999999999, 3)")),
        ("a negative extent", dict("'<f4'", "(-1, 3)")),
        ("deep nesting", header(&"(".repeat(9_000))),
        ("no samples", npy::<f32>("<f4", Order::C, &[0, 3], &[])),
        ("no samples in front", npy::<f32>("<f4", Order::C, &[0, 1, 3], &[])),
        ("elements of no size", dict("'|S0'", "(1, 3)")),
        ("long doubles", dict("'<f16'", "(1, 3)")),
    ];
    for (what, bytes) in hostile {
        fs::write(folder.path("x.npy"), bytes).unwrap();
        let error = folder.open("x.npy", &signature).expect_err(what);
        assert_eq!(error.kind(), crate::ErrorKind::InvalidData, "{what}: {error}");
    }
}

#[test]
fn damaged_archives_are_errors() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "N,64")]);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        folder.archive("a.npz", method, |archive| {
            archive.array("x", &[1, 64], &[0.5_f32; 64]);
        });
        let whole = fs::read(folder.path("a.npz")).unwrap();
        let (mut opened, mut refused) = (0, 0);
        // Whatever is cut off or flipped: an error or the same bits, and no panic.
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 0x41;
            for bytes in [flipped, whole[..position].to_vec()] {
                fs::write(folder.path("a.npz"), bytes).unwrap();
                match folder.open("a.npz", &signature) {
                    Ok(samples) => {
                        opened += 1;
                        let values = samples.get(0).unwrap()[0].1.to_f32().unwrap();
                        assert_eq!(values, [0.5; 64], "{method:?} byte {position}");
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(opened > 0 && refused > whole.len(), "{opened} opened, {refused} refused");
    }
}

#[test]
fn a_large_array_that_does_not_fit_is_refused_by_its_header() {
    let folder = Folder::new();
    folder.archive("a.npz", CompressionMethod::Deflated, |archive| {
        archive.array("x", &[1, 9000], &[0.0_f32; 9000]);
    });
    // Damage in the elements goes unnoticed, since they are never read.
    let mut bytes = fs::read(folder.path("a.npz")).unwrap();
    let checksum = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 16;
    bytes[checksum] ^= 0xff;
    fs::write(folder.path("a.npz"), bytes).unwrap();
    let error = |shape: &str| folder.open("a.npz", &signature(&[("x", DType::F32, shape)])).unwrap_err().to_string();
    assert!(error("N,3").contains("float[1,9000]"));
    assert!(error("N,9000").contains("corrupt"));
}

#[test]
fn a_folder_of_archives_is_read_in_order() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "1")]);
    for (name, value) in [("b.npz", 3.0_f32), ("a.npz", 1.0)] {
        folder.archive(name, CompressionMethod::Stored, |archive| {
            archive.array("x", &[2, 1], &[value, value + 1.0]).array("label", &[2], &[value as i64, 9]);
        });
    }
    let samples = folder.open(".", &signature).unwrap();
    let values: Vec<f32> =
        (0..samples.len()).map(|index| samples.get(index).unwrap()[0].1.scalar_f32().unwrap()).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!((samples.label(2), samples.label(3)), (Some(vec![3]), Some(vec![9])));
    let limited = open_spec(folder.path(".").to_str().unwrap(), &signature, Some(3)).unwrap();
    assert_eq!(limited.len(), 3);
    assert!(limited.get(3).is_err() && limited.label(3).is_none());
    assert!(limited.describe().starts_with("the first 3 of 4 samples"));
}

#[test]
fn reads_onnx_test_data() {
    let folder = Folder::new();
    let signature = signature(&[("x", DType::F32, "2"), ("n", DType::I64, "")]);
    for set in [10, 9] {
        let path = folder.path(&format!("test_data_set_{set}"));
        fs::create_dir(&path).unwrap();
        let x = TensorProto {
            data_type: Some(DType::F32.to_onnx()),
            dims: vec![2],
            float_data: vec![set as f32, 1.0],
            ..TensorProto::default()
        };
        let n = TensorProto { data_type: Some(DType::I64.to_onnx()), int64_data: vec![set], ..TensorProto::default() };
        fs::write(path.join("input_0.pb"), x.encode_to_vec()).unwrap();
        fs::write(path.join("input_1.pb"), n.encode_to_vec()).unwrap();
        fs::write(path.join("output_0.pb"), b"ignored").unwrap();
    }
    let samples = folder.open(".", &signature).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples.get(0).unwrap()[1].1.scalar_i64(), Some(9));
    assert_eq!(folder.open("test_data_set_10", &signature).unwrap().get(0).unwrap()[1].1.scalar_i64(), Some(10));

    fs::write(folder.path("test_data_set_9/input_1.pb"), [0xff; 9]).unwrap();
    assert!(folder.open(".", &signature).unwrap_err().to_string().contains("input_1.pb"));
    fs::remove_file(folder.path("test_data_set_9/input_1.pb")).unwrap();
    assert!(folder.open(".", &signature).unwrap_err().to_string().contains("input `n` has no data"));
}

#[test]
fn says_what_a_source_can_be() {
    let signature = signature(&[("x", DType::F32, "2")]);
    let error = |spec: &str| open_spec(spec, &signature, None).unwrap_err().to_string();
    assert!(error("sinthetic").contains("did you mean `synthetic`"));
    assert!(error("nowhere.npz").contains("test_data_set"));
    assert!(error("synthetic:0").contains("synthetic:N"));
    let folder = Folder::new();
    assert!(folder.open(".", &signature).unwrap_err().to_string().contains("holds no input data"));
    fs::write(folder.path("x.csv"), "1").unwrap();
    assert!(folder.open("x.csv", &signature).unwrap_err().to_string().contains(".npz"));
    assert_eq!(open_spec("synthetic", &signature, None).unwrap().len(), DEFAULT_SYNTHETIC_SAMPLES);
    assert_eq!(open_spec("synthetic:5", &signature, Some(2)).unwrap().len(), 2);
}

/// The layouts that real evaluation sets have.
#[test]
fn opens_the_shared_corpus() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !corpus.is_dir() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no ../shared/corpus, which CI must have");
        println!("skipped: no ../shared/corpus");
        return;
    }
    let open = |file: &str, inputs: &[(&str, DType, &str)]| {
        let samples = open_spec(corpus.join(file).to_str().unwrap(), &signature(inputs), None).unwrap();
        let shapes: Vec<String> =
            samples.get(samples.len() - 1).unwrap().iter().map(|(_, tensor)| tensor.type_text()).collect();
        (samples.len(), shapes.join(" "), samples.label(0).map(|labels| labels.len()))
    };
    let digits = ("input", DType::F32, "N,1,28,28");
    assert_eq!(open("lenet5.eval.npz", &[digits]), (8, "float[16,1,28,28]".into(), None));
    assert_eq!(open("mnist_test.npz", &[digits]), (1, "float[2004,1,28,28]".into(), Some(2004)));
    let ids = ["input_ids", "attention_mask", "token_type_ids"].map(|name| (name, DType::I64, "b,s"));
    assert_eq!(open("minilm_l6.eval.npz", &ids), (8, "int64[1,64] int64[1,64] int64[1,64]".into(), None));
    let speech = [("input", DType::F32, "b,s"), ("state", DType::F32, "2,b,128"), ("sr", DType::I64, "")];
    assert_eq!(open("silero_vad.eval.npz", &speech), (8, "float[1,576] float[2,1,128] int64".into(), None));
}
