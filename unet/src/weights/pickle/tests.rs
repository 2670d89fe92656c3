//! Pickles written by hand, most of them hostile.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn int32(n: u32) -> [u8; 4] {
    n.to_le_bytes()
}

fn refused(bytes: &[u8]) -> String {
    match load(bytes).unwrap_err() {
        PickleError::Malformed(reason) => reason,
        PickleError::Global(name) => panic!("asks for {name}"),
    }
}

fn asks_for(bytes: &[u8]) -> String {
    match load(bytes).unwrap_err() {
        PickleError::Global(name) => name,
        PickleError::Malformed(reason) => panic!("{reason}"),
    }
}

fn root(bytes: &[u8]) -> Node {
    let pickle = load(bytes).unwrap();
    pickle.node(pickle.root).clone()
}

#[test]
fn plain_values() {
    assert_eq!(root(b"\x80\x02N."), Node::None);
    assert_eq!(root(b"\x80\x04\x95\x02\0\0\0\0\0\0\0K\x07."), Node::Int(7));
    assert_eq!(root(b"\x80\x02J\xfe\xff\xff\xff."), Node::Int(-2));
    assert_eq!(root(b"\x80\x02M\x01\x02."), Node::Int(513));
    assert_eq!(root(b"\x80\x02\x8a\x01\xff."), Node::Int(-1));
    assert_eq!(root(b"\x80\x02\x8a\0."), Node::Int(0));
    assert_eq!(root(b"\x80\x02\x8a\x02\xff\x00."), Node::Int(255));
    assert_eq!(root(b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01."), Node::Opaque);
    assert_eq!(root(b"\x80\x02G\x3f\xf8\0\0\0\0\0\0."), Node::Float(1.5));
    assert_eq!(root(b"\x80\x02X\x02\0\0\0hi."), Node::Text("hi".into()));
    assert_eq!(root(b"\x80\x04\x8c\x02hi."), Node::Text("hi".into()));
    assert_eq!(root(b"\x80\x03C\x02hi."), Node::Opaque);
    assert_eq!(root(b"\x80\x02\x88."), Node::Bool(true));
}

#[test]
fn containers_are_filled_after_they_were_remembered() {
    // d = {}; memo; d["a"] = [1, 2]; d["b"] = (d's own list recalled)
    let pickle = load(b"\x80\x02}q\0(X\x01\0\0\0a]q\x01(K\x01K\x02eX\x01\0\0\0bh\x01u.").unwrap();
    let (a, b) = (pickle.entry(pickle.root, "a").unwrap(), pickle.entry(pickle.root, "b").unwrap());
    assert_eq!(a, b);
    assert!(matches!(pickle.node(a), Node::List(items) if items.len() == 2));
    assert!(pickle.entry(pickle.root, "c").is_none());
}

/// What is made by an unknown class is its name, however it is made and filled.
#[test]
fn a_foreign_object_is_a_name_and_nothing_else() {
    let name = |bytes: &[u8]| match root(bytes) {
        Node::Foreign(name) => name.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(name(b"\x80\x02cpl.a\nB\n."), "pl.a.B");
    assert_eq!(name(b"\x80\x02cpl.a\nB\n)R."), "pl.a.B");
    assert_eq!(name(b"\x80\x02cpl.a\nB\n)\x81}b."), "pl.a.B", "NEWOBJ, BUILD");
    assert_eq!(name(b"\x80\x04\x8c\x04pl.a\x8c\x01B\x93)}\x92."), "pl.a.B", "NEWOBJ_EX");
    assert_eq!(name(b"\x80\x02cpl.a\nB\n)\x81(K\x01K\x02u."), "pl.a.B", "SETITEMS");
    assert_eq!(name(b"\x80\x02cpl.a\nB\n)\x81(K\x01K\x02e."), "pl.a.B", "APPENDS");
    assert_eq!(name(b"\x80\x04cpl.a\nB\n)\x81(K\x01\x90."), "pl.a.B", "ADDITEMS");
    assert_eq!(name(b"\x80\x02cbuiltins\nset\n]\x85R."), "builtins.set");
    assert_eq!(name(b"\x80\x02ctorch._utils\n_rebuild_qtensor\n."), "torch._utils._rebuild_qtensor");
    assert_eq!(name(&[b"\x80\x02c".as_slice(), &[b'a'; 5000], b"\nb\n."].concat()).len(), 120);
    // A known call of something foreign is foreign.
    assert_eq!(name(b"\x80\x02ctorch._utils\n_rebuild_parameter\ncpl.a\nB\n)R\x88N\x87R."), "pl.a.B");
    assert_eq!(root(b"\x80\x04\x8f(K\x01\x90."), Node::Set);
    assert_eq!(root(b"\x80\x04(K\x01\x91."), Node::Set);
}

#[test]
fn programs_are_refused_wherever_they_stand() {
    for (module, name) in [
        ("os", "system"),
        ("os.path", "join"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("runpy", "_run_code"),
        ("webbrowser", "open"),
    ] {
        let pickle = format!("\u{2}c{module}\n{name}\n0}}.");
        assert_eq!(asks_for(&[&b"\x80"[..], pickle.as_bytes()].concat()), format!("{module}.{name}"));
    }
}

#[test]
fn nothing_but_tensors_can_be_asked_for() {
    assert_eq!(asks_for(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."), "os.system");
    assert_eq!(asks_for(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."), "builtins.eval");
    assert_eq!(asks_for(b"\x80\x02ctorch\nload\n."), "torch.load");
    assert_eq!(asks_for(b"\x80\x02c__builtin__\nexec\n)R."), "__builtin__.exec");
    // The way in through another module's import of it.
    assert_eq!(asks_for(b"\x80\x02ctorch\nos.system\n."), "torch.os.system");
    assert_eq!(asks_for(b"\x80\x02ctorch.hub\nload\n."), "torch.hub.load");
    let long = [b"\x80\x02cos\n".as_slice(), &[b'a'; 5000], b"\n."].concat();
    assert_eq!(asks_for(&long).len(), 120);
    let module = b"\x80\x02(X\x06\0\0\0modulectorch\nFloatStorage\nNNtQ.";
    assert!(asks_for(module).contains("module"));
}

#[test]
fn instructions_that_make_objects_are_refused() {
    for code in [b'i', b'o', 0x82, 0x83, 0x84, b'P', b'I', b'S', b'V', b'p', b'g', 0x97, 0xff] {
        let reason = refused(&[0x80, 2, code, b'\n', b'\n', b'.']);
        assert!(reason.contains(&format!("0x{code:02x}")), "{reason}");
    }
    // An instance of what is no class.
    for program in
        [&b"\x80\x02N)\x81."[..], b"\x80\x02)\x81.", b"\x80\x04N)}\x92.", b"\x80\x04X\x01\0\0\0a)}\x92."]
    {
        refused(program);
    }
    assert!(refused(b"\x80\x01N.").contains("protocol 1"));
    assert!(refused(b"\x80\x09N.").contains("protocol 9"));
}

#[test]
fn every_cut_is_noticed() {
    let whole = b"\x80\x02}q\0(X\x01\0\0\0aG\x3f\xf8\0\0\0\0\0\0X\x01\0\0\0b\x8a\x02\xff\x00ccollections\nOrderedDict\n)Ru.";
    // A key, a value, a key, a value and a dictionary: one key is without value.
    assert!(refused(whole).contains("key without a value"));
    for length in 0..whole.len() - 1 {
        assert!(load(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn impossible_programs_are_refused() {
    for program in [
        &b"."[..],
        b"0.",
        b"2.",
        b"1.",
        b"t.",
        b"a.",
        b"s.",
        b"u.",
        b"e.",
        b"R.",
        b"b.",
        b"Q.",
        b"q\0.",
        b"h\0.",
        b"j\xff\xff\xff\xff.",
        b"\x87.",
        b"\x93.",
        b"(.",
        b"(N0.",
        // The mark reaches below a value that was taken from under it.
        b"N(\x851.",
        b"K\x01K\x02a.",
        b"K\x01K\x02K\x03s.",
        b"NNb.",
        b"K\x01)R.",
        b"K\x01Q.",
        b"ccollections\nOrderedDict\nK\x01R.",
        b"ccollections\nOrderedDict\nK\x01\x85R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
        b"ctorch\nFloatStorage\n)R.",
        b"X\x01\0\0\0\xff.",
        b"X\xff\xff\xff\xffabc.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x8b\xff\xff\xff\x7f.",
        b"B\xff\xff\xff\xff.",
    ] {
        refused(&[b"\x80\x02", program].concat());
    }
}

#[test]
fn bombs_are_bounded() {
    // As many empty dictionaries as fit.
    let many = [b"\x80\x02".as_slice(), &vec![b'}'; LONGEST], b"."].concat();
    assert!(refused(&many).contains("more than"));
    // A number that counts far: memo entries far apart cost nothing.
    let mut memo = b"\x80\x02N".to_vec();
    for n in 0..1000u32 {
        memo.push(b'r');
        memo.extend(int32(u32::MAX - n));
    }
    memo.push(b'.');
    assert_eq!(root(&memo), Node::None);
    // Lists in lists a hundred thousand deep are read (nothing recurses); flattening bounds the depth.
    let deep = [b"\x80\x02".as_slice(), &vec![b']'; 100_000], &vec![b'a'; 99_999], b"."].concat();
    assert!(matches!(root(&deep), Node::List(items) if items.len() == 1));
    // A pickle longer than the limit is cut off.
    let long = [b"\x80\x02".as_slice(), &[b'N', b'0'].repeat(LONGEST / 2), b"N."].concat();
    assert!(load(&long).is_err());
}

#[test]
fn a_tensor_is_a_view_of_a_storage() {
    let storage = b"(X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x005X\x03\0\0\0cpuK\x0ctQ";
    let tensor = [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(".as_slice(),
        storage,
        b"K\x02K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR.",
    ]
    .concat();
    let Node::Tensor(tensor) = root(&tensor) else { panic!("no tensor") };
    assert_eq!(tensor.storage.key, "5");
    assert_eq!(tensor.storage.dtype, StoredType::Weight(tch::Kind::Half));
    assert_eq!((tensor.storage.size, tensor.storage.count, tensor.first), (2, 12, 2));
    assert_eq!((tensor.shape, tensor.strides), (vec![2, 3], vec![3, 1]));
    // A negative count.
    let bad =
        b"\x80\x02(X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x005X\x03\0\0\0cpuJ\xff\xff\xff\xfftQ.";
    assert!(refused(bad).contains("storage"));
}
