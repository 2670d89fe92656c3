//! What an ONNX file says of itself before any weight is read: its inputs, its outputs, and the names of its
//! first nodes. ONNX Runtime tells the first two only after loading everything, and the third not at all.
//!
//! The file is a protobuf message (`onnx.proto3`); fields that are not wanted are stepped over, so a file of
//! hundreds of megabytes costs a few reads.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Nodes whose names are kept: as many as InsightFace looks at.
const FIRST_NODES: usize = 8;
/// Longest name that is read; longer ones are no names.
const LONGEST_NAME: u64 = 4096;
/// Most inputs, outputs or weights that a face network has, with room to spare.
const MOST_VALUES: usize = 100_000;

// Field numbers of onnx.proto3.
const MODEL_GRAPH: u64 = 7;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
const NODE_NAME: u64 = 3;
const TENSOR_NAME: u64 = 8;
const VALUE_NAME: u64 = 1;
const VALUE_TYPE: u64 = 2;
const TYPE_TENSOR: u64 = 1;
const TENSOR_SHAPE: u64 = 2;
const SHAPE_DIM: u64 = 1;
const DIM_VALUE: u64 = 1;

/// An input or output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ValueInfo {
    pub name: String,
    /// One entry for each dimension; `None` where it is left open.
    pub shape: Vec<Option<i64>>,
}

/// The outside of a network.
#[derive(Debug, Default)]
pub(crate) struct GraphSummary {
    /// Without those that are weights, which old exporters list as inputs too.
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<ValueInfo>,
    pub first_nodes: Vec<String>,
}

impl GraphSummary {
    /// Reads a model file.
    ///
    /// # Errors
    /// A sentence: the file cannot be read, or it is not an ONNX model.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let mut wire = Wire { file: BufReader::new(file), at: 0 };
        let summary = wire.model(length).map_err(|e| format!("not an ONNX model: {e}"))?;
        if summary.inputs.is_empty() || summary.outputs.is_empty() {
            return Err("not an ONNX model: it has no graph with inputs and outputs".to_owned());
        }
        Ok(summary)
    }
}

/// A field's content.
enum Content {
    Number(u64),
    /// Ends at this offset in the file.
    Bytes(u64),
    Other,
}

/// Protobuf's wire format, read forwards.
struct Wire {
    file: BufReader<File>,
    at: u64,
}

impl Wire {
    fn model(&mut self, end: u64) -> io::Result<GraphSummary> {
        let mut summary = GraphSummary::default();
        self.each(end, |wire, number, content| match (number, content) {
            (MODEL_GRAPH, Content::Bytes(end)) => {
                summary = wire.graph(end)?;
                Ok(())
            }
            _ => Ok(()),
        })?;
        Ok(summary)
    }

    fn graph(&mut self, end: u64) -> io::Result<GraphSummary> {
        let mut summary = GraphSummary::default();
        let mut weights = Vec::new();
        self.each(end, |wire, number, content| {
            let Content::Bytes(end) = content else { return Ok(()) };
            match number {
                GRAPH_NODE if summary.first_nodes.len() < FIRST_NODES => {
                    summary.first_nodes.push(wire.text_field(end, NODE_NAME)?);
                }
                GRAPH_INITIALIZER => weights.push(wire.text_field(end, TENSOR_NAME)?),
                GRAPH_INPUT => summary.inputs.push(wire.value(end)?),
                GRAPH_OUTPUT => summary.outputs.push(wire.value(end)?),
                _ => {}
            }
            match weights.len().max(summary.inputs.len()).max(summary.outputs.len()) {
                0..MOST_VALUES => Ok(()),
                _ => Err(damaged("too many values")),
            }
        })?;
        let weights: std::collections::BTreeSet<String> = weights.into_iter().collect();
        summary.inputs.retain(|input| !weights.contains(&input.name));
        Ok(summary)
    }

    fn value(&mut self, end: u64) -> io::Result<ValueInfo> {
        let mut info = ValueInfo::default();
        self.each(end, |wire, number, content| {
            match (number, content) {
                (VALUE_NAME, Content::Bytes(end)) => info.name = wire.text(end)?,
                (VALUE_TYPE, Content::Bytes(end)) => info.shape = wire.tensor_type(end)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(info)
    }

    /// `TypeProto` → `Tensor` → `TensorShapeProto` → `Dimension`s
    fn tensor_type(&mut self, end: u64) -> io::Result<Vec<Option<i64>>> {
        let mut shape = Vec::new();
        self.inside(end, TYPE_TENSOR, |wire, end| {
            wire.inside(end, TENSOR_SHAPE, |wire, end| {
                wire.inside(end, SHAPE_DIM, |wire, end| {
                    let mut size = None;
                    wire.each(end, |_, number, content| {
                        if let (DIM_VALUE, Content::Number(value)) = (number, content) {
                            // zero and the negative numbers that some exporters write mean "open"
                            size = i64::try_from(value).ok().filter(|&value| value > 0);
                        }
                        Ok(())
                    })?;
                    shape.push(size);
                    if shape.len() > 16 { Err(damaged("a shape of too many dimensions")) } else { Ok(()) }
                })
            })
        })?;
        Ok(shape)
    }

    /// Calls `visit` with the end of each field of that number that holds a message.
    fn inside(
        &mut self,
        end: u64,
        wanted: u64,
        mut visit: impl FnMut(&mut Self, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.each(end, |wire, number, content| match content {
            Content::Bytes(end) if number == wanted => visit(wire, end),
            _ => Ok(()),
        })
    }

    /// The text in one field of a message; empty where it is not there.
    fn text_field(&mut self, end: u64, wanted: u64) -> io::Result<String> {
        let mut text = String::new();
        self.inside(end, wanted, |wire, end| {
            text = wire.text(end)?;
            Ok(())
        })?;
        Ok(text)
    }

    fn text(&mut self, end: u64) -> io::Result<String> {
        let length = end - self.at;
        if length > LONGEST_NAME {
            return Err(damaged("a name that is too long"));
        }
        let mut bytes = Vec::new();
        self.at += (&mut self.file).take(length).read_to_end(&mut bytes)? as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Visits every field up to `end`; what a visitor leaves unread is stepped over.
    fn each(
        &mut self,
        end: u64,
        mut visit: impl FnMut(&mut Self, u64, Content) -> io::Result<()>,
    ) -> io::Result<()> {
        while self.at < end {
            let key = self.varint(end)?;
            let (number, next, content) = match key & 7 {
                0 => (key >> 3, None, Content::Number(self.varint(end)?)),
                1 => (key >> 3, Some(8), Content::Other),
                5 => (key >> 3, Some(4), Content::Other),
                2 => {
                    let length = self.varint(end)?;
                    (key >> 3, Some(length), Content::Bytes(self.at.saturating_add(length)))
                }
                _ => return Err(damaged("a field of unknown type")),
            };
            let after = self.at.checked_add(next.unwrap_or(0)).filter(|&after| after <= end);
            let after = after.ok_or_else(|| damaged("a field that is longer than what holds it"))?;
            visit(self, number, content)?;
            self.skip_to(after)?;
        }
        Ok(())
    }

    fn skip_to(&mut self, place: u64) -> io::Result<()> {
        match i64::try_from(place.saturating_sub(self.at)) {
            Ok(step) => self.file.seek_relative(step)?,
            Err(_) => self.file.seek(SeekFrom::Start(place)).map(drop)?,
        }
        self.at = place;
        Ok(())
    }

    fn varint(&mut self, end: u64) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(damaged("it ends too early"));
            }
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number that is too long"))
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128 && number < 16);
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn value(name: &[u8], dims: &[&[u8]]) -> Vec<u8> {
        let shape: Vec<u8> = dims.iter().flat_map(|dim| field(1, dim)).collect();
        let tensor = [&[8, 1][..], &field(2, &shape)].concat();
        [field(1, name), field(2, &field(1, &tensor))].concat()
    }

    fn read(bytes: &[u8]) -> Result<GraphSummary, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.onnx");
        std::fs::write(&path, bytes).expect("writing the file");
        GraphSummary::read(&path)
    }

    fn model() -> Vec<u8> {
        let node = [field(1, b"x"), field(2, b"y"), field(3, b"Sub_0"), field(4, b"Sub")].concat();
        let weight = [&[8, 3][..], &field(8, b"w"), &field(9, &[0; 12])].concat();
        let graph = [
            field(1, &node),
            field(2, b"graph"),
            field(5, &weight),
            field(11, &value(b"input.1", &[&[8, 1], &[8, 3], &field(2, b"?"), &[]])),
            field(11, &value(b"w", &[&[8, 3]])),
            field(12, &value(b"448", &[&field(2, b"n"), &[8, 1]])),
        ];
        // a version number, then the graph
        let graph = graph.concat();
        let head = [7 << 3 | 2, graph.len() as u8 & 0x7f | 0x80, (graph.len() >> 7) as u8];
        [&[8, 6][..], &head[..], &graph].concat()
    }

    #[test]
    fn inputs_outputs_and_nodes_are_found() {
        let summary = read(&model()).expect("a model");
        assert_eq!(summary.first_nodes, ["Sub_0"]);
        let [input] = &summary.inputs[..] else { panic!("a weight is no input: {:?}", summary.inputs) };
        assert_eq!((input.name.as_str(), &input.shape[..]), ("input.1", &[Some(1), Some(3), None, None][..]));
        let [output] = &summary.outputs[..] else { panic!("{:?}", summary.outputs) };
        assert_eq!((output.name.as_str(), &output.shape[..]), ("448", &[None, Some(1)][..]));
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_and_no_panic() {
        let whole = model();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            // most are refused; none may hang or panic
            let _ = read(&changed);
        }
        for other in [&b"a letter to a friend, and no model"[..], &[0xff; 64], &[]] {
            assert!(read(other).is_err_and(|e| e.contains("not an ONNX model")));
        }
    }
}
