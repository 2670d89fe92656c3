//! The names that a pickle of `torch.save` calls, and what comes of it.

use tch::Kind;

use super::{Global, Id, Node, PickleError, PickledTensor, Result, Storage, malformed};
use crate::weights::stored::StoredType;

/// The known meaning of a name; any other is refused.
pub(super) fn known(module: &str, name: &str) -> Result<Global> {
    let weight = |kind: Kind| Global::Storage(StoredType::Weight(kind), kind.elt_size_in_bytes());
    let other = |name: &str, size| Global::Storage(StoredType::Other(name.into()), size);
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "DoubleStorage") => weight(Kind::Double),
        ("torch", "FloatStorage") => weight(Kind::Float),
        ("torch", "HalfStorage") => weight(Kind::Half),
        ("torch", "BFloat16Storage") => weight(Kind::BFloat16),
        ("torch", "LongStorage") => other("I64", 8),
        ("torch", "IntStorage") => other("I32", 4),
        ("torch", "ShortStorage") => other("I16", 2),
        ("torch", "CharStorage") => other("I8", 1),
        ("torch", "ByteStorage") => other("U8", 1),
        ("torch", "BoolStorage") => other("BOOL", 1),
        ("torch", "ComplexFloatStorage") => other("C64", 8),
        ("torch", "ComplexDoubleStorage") => other("C128", 16),
        _ => return Err(PickleError::Global(shortened(&format!("{module}.{name}")))),
    })
}

/// For messages: a name from a file may be of any length and hold anything.
fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(120).collect()
}

fn tuple(nodes: &[Node], id: Id) -> Result<Vec<Node>> {
    match &nodes[id] {
        // Arguments are few; a longer tuple is none.
        Node::Tuple(items) if items.len() <= 64 => {
            Ok(items.iter().map(|&item| shallow(nodes, item)).collect())
        }
        _ => malformed("arguments that are no short tuple"),
    }
}

/// A copy that leaves the contents of large values behind.
fn shallow(nodes: &[Node], id: Id) -> Node {
    match &nodes[id] {
        Node::List(_) | Node::Dict(_) => Node::Opaque,
        Node::Text(text) if text.len() > 256 => Node::Opaque,
        Node::Tuple(items) if items.len() > 64 => Node::Opaque,
        other => other.clone(),
    }
}

fn whole_numbers(nodes: &[Node], items: &[Id]) -> Result<Vec<i64>> {
    let number = |&id: &Id| match nodes[id] {
        Node::Int(n) => Ok(n),
        _ => malformed("a shape that is not of whole numbers"),
    };
    items.iter().map(number).collect()
}

/// `("storage", type, key, location, count)`, in the older format with a sixth entry, None.
pub(super) fn persistent(nodes: &[Node], id: Id) -> Result<Node> {
    match &tuple(nodes, id)?[..] {
        [
            Node::Text(what),
            Node::Global(Global::Storage(dtype, size)),
            Node::Text(key),
            Node::Text(_),
            Node::Int(count @ 0..),
            rest @ ..,
        ] if what == "storage" && matches!(rest, [] | [Node::None]) => {
            let (dtype, key) = (dtype.clone(), key.clone());
            Ok(Node::Storage(Storage { key, dtype, size: *size, count: *count }))
        }
        [Node::Text(what), ..] if what == "module" => {
            Err(PickleError::Global("a whole module, which is a program".into()))
        }
        _ => malformed("a storage that is not described as torch.save does"),
    }
}

/// What a call of a known name makes.
pub(super) fn call(nodes: &[Node], function: Id, arguments: Id) -> Result<Node> {
    let Node::Global(global) = nodes[function].clone() else {
        return malformed("it calls something that is not a name");
    };
    let items = tuple(nodes, arguments)?;
    let made = match (&global, &items[..]) {
        (Global::OrderedDict, []) => Node::Dict(Vec::new()),
        (
            Global::RebuildTensor,
            [Node::Storage(storage), Node::Int(first), Node::Tuple(shape), Node::Tuple(strides), ..],
        ) => Node::Tensor(Box::new(PickledTensor {
            storage: storage.clone(),
            first: *first,
            shape: whole_numbers(nodes, shape)?,
            strides: whole_numbers(nodes, strides)?,
        })),
        (Global::RebuildParameter, [Node::Tensor(tensor), ..]) => Node::Tensor(tensor.clone()),
        _ => return malformed(format!("{global:?} is called with arguments that it does not take")),
    };
    Ok(made)
}
