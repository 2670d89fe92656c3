//! The parts of an ONNX file that a feed-forward network needs: its nodes in order, and their weights.
//!
//! Field numbers are those of `onnx.proto3`; fields that are not named here are stepped over.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use tch::Tensor;

use crate::error::TrainingError;

/// `TensorProto.DataType.FLOAT`
const FLOAT: i32 = 1;

#[derive(Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
}

#[derive(Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

/// One operation.
pub struct Node {
    pub operation: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    attributes: HashMap<String, AttributeProto>,
}

impl Node {
    /// A number, or what ONNX takes where it is left out.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attributes.get(name).map_or(default, |a| a.f)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).map_or(default, |a| a.i)
    }

    /// A list of integers; `default` where it is left out.
    pub fn ints(&self, name: &str, default: &[i64]) -> Vec<i64> {
        self.attributes.get(name).map_or_else(|| default.to_vec(), |a| a.ints.clone())
    }
}

/// A network as its file says it.
pub struct Graph {
    pub nodes: Vec<Node>,
    /// f32
    pub weights: HashMap<String, Tensor>,
}

impl Graph {
    /// Reads a file; weights of other types than f32 are left out.
    pub fn read(path: &Path) -> Result<Self, TrainingError> {
        let bytes = std::fs::read(path).map_err(TrainingError::io(path))?;
        let fail = |reason: String| TrainingError::Network { path: path.into(), reason };
        let model = ModelProto::decode(bytes.as_slice()).map_err(|e| fail(e.to_string()))?;
        let graph = model.graph.ok_or_else(|| fail("it has no graph".into()))?;
        let mut weights = HashMap::new();
        for tensor in graph.initializer.into_iter().filter(|t| t.data_type == FLOAT) {
            let values = if tensor.raw_data.is_empty() {
                tensor.float_data
            } else {
                let words = tensor.raw_data.chunks_exact(4);
                words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            };
            let count: i64 = tensor.dims.iter().product();
            if count != values.len() as i64 {
                let reason = format!("{}: {} values for shape {:?}", tensor.name, values.len(), tensor.dims);
                return Err(fail(reason));
            }
            weights.insert(tensor.name, Tensor::f_from_slice(&values)?.f_view(tensor.dims.as_slice())?);
        }
        let nodes = graph.node.into_iter().map(|node| Node {
            operation: node.op_type,
            inputs: node.input,
            outputs: node.output,
            attributes: node.attribute.into_iter().map(|a| (a.name.clone(), a)).collect(),
        });
        Ok(Self { nodes: nodes.collect(), weights })
    }
}
