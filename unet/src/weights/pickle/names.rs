//! The names that a pickle of `torch.save` calls, and what comes of it.

use tch::Kind;

use super::{Global, Id, Node, PickleError, PickledTensor, Result, Storage, malformed};
use crate::weights::stored::StoredType;

/// Modules that run programs, read files or import code: no training leaves them in a checkpoint, so a file
/// that names one is an attack on whoever loads it with Python, and is refused wherever the name stands.
const PROGRAMS: [&str; 37] = [
    "_io",
    "asyncio",
    "bdb",
    "builtins",
    "__builtin__",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "_ctypes",
    "cProfile",
    "distutils",
    "doctest",
    "ensurepip",
    "gc",
    "http",
    "importlib",
    "io",
    "marshal",
    "multiprocessing",
    "nt",
    "operator",
    "os",
    "pdb",
    "pip",
    "platform",
    "posix",
    "profile",
    "pty",
    "pydoc",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "timeit",
    "webbrowser",
];
/// Of PyTorch, what loads or compiles.
const LOADERS: [&str; 4] = ["torch.hub", "torch.jit", "torch.load", "torch.serialization.load"];
/// What of `builtins` makes plain values.
const PLAIN_BUILTINS: [&str; 16] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "long",
];

/// What a name stands for: known, or foreign. A foreign one is looked up nowhere and never called; whatever is
/// made by it is foreign as well.
///
/// # Errors
/// The name is of a module that runs programs.
pub(super) fn resolve(module: &str, name: &str) -> Result<Node> {
    if let Some(global) = known(module, name) {
        return Ok(Node::Global(global));
    }
    let full = shortened(&format!("{module}.{name}"));
    let first = module.split('.').next().unwrap_or_default();
    let plain = matches!(module, "builtins" | "__builtin__") && PLAIN_BUILTINS.contains(&name);
    // A dotted name goes through another module's import of it: `torch` and `os.system`.
    let runs = !plain && PROGRAMS.contains(&first)
        || name.contains('.') && name.split('.').any(|part| PROGRAMS.contains(&part))
        || LOADERS.iter().any(|loader| {
            full.strip_prefix(loader).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
    if runs {
        return Err(PickleError::Global(full));
    }
    Ok(Node::Foreign(full.into()))
}

fn known(module: &str, name: &str) -> Option<Global> {
    let weight = |kind: Kind| Global::Storage(StoredType::Weight(kind), kind.elt_size_in_bytes());
    let other = |name: &str, size| Global::Storage(StoredType::Other(name.into()), size);
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTyped,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch.storage", "UntypedStorage") => Global::Untyped,
        ("torch", "float8_e4m3fn") => Global::Type(Kind::Float8e4m3fn),
        ("torch", "float8_e5m2") => Global::Type(Kind::Float8e5m2),
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
        _ => return None,
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
        [Node::Text(what), Node::Foreign(name), ..] if what == "storage" => Ok(Node::Foreign(name.clone())),
        [
            Node::Text(what),
            Node::Global(Global::Untyped),
            Node::Text(key),
            Node::Text(_),
            Node::Int(count @ 0..),
        ] if what == "storage" => {
            let dtype = StoredType::Other("untyped".into());
            Ok(Node::Storage(Storage { key: key.clone(), dtype, size: 1, count: *count }))
        }
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
    let global = match &nodes[function] {
        Node::Global(global) => global.clone(),
        Node::Foreign(name) => return Ok(Node::Foreign(name.clone())),
        _ => return malformed("it calls something that is not a name"),
    };
    let items = tuple(nodes, arguments)?;
    if let Some(Node::Foreign(name)) = items.iter().find(|item| matches!(item, Node::Foreign(_))) {
        return Ok(Node::Foreign(name.clone()));
    }
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
        // Elements of a type that has no storage of its own lie in one of bytes.
        (
            Global::RebuildTyped,
            [
                Node::Storage(storage),
                Node::Int(first),
                Node::Tuple(shape),
                Node::Tuple(strides),
                _,
                _,
                Node::Global(Global::Type(kind)),
                ..,
            ],
        ) if storage.size == 1 => Node::Tensor(Box::new(PickledTensor {
            storage: Storage { dtype: StoredType::Weight(*kind), ..storage.clone() },
            first: *first,
            shape: whole_numbers(nodes, shape)?,
            strides: whole_numbers(nodes, strides)?,
        })),
        (Global::RebuildParameter, [Node::Tensor(tensor), ..]) => Node::Tensor(tensor.clone()),
        _ => return malformed(format!("{global:?} is called with arguments that it does not take")),
    };
    Ok(made)
}
