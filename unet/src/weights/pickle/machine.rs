//! The stack machine that a pickle is a program for, without those of its instructions that make
//! arbitrary objects.

use std::collections::HashMap;

use super::{Id, MOST_NODES, Node, Pickle, PickleError, Result, malformed, names};

#[derive(Default)]
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Lengths of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Runs to the end of the pickle.
    pub(super) fn run(mut self) -> Result<Pickle> {
        loop {
            if let Some(root) = self.step()? {
                return Ok(Pickle { nodes: self.nodes, root, length: self.at });
            }
        }
    }

    /// Runs one opcode; the result when it is the last.
    fn step(&mut self) -> Result<Option<Id>> {
        let code = self.byte()?;
        match code {
            0x80 => match self.byte()? {
                2..=5 => {}
                other => return malformed(format!("pickle protocol {other}, only 2 to 5 are read")),
            },
            0x95 => drop(self.take(8)?), // FRAME
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'K' => {
                let value = self.byte()?;
                self.push(Node::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))?;
            }
            0x8a => {
                let length = self.byte()?;
                self.long(length.into())?;
            }
            0x8b => {
                let length = self.length32()?;
                self.long(length)?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value))?;
            }
            0x8c | b'U' => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            b'X' | b'T' => {
                let length = self.length32()?;
                self.text(length)?;
            }
            0x8d => {
                let length = usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
                self.text(length)?;
            }
            b'C' => {
                let length = self.byte()?;
                self.take(length.into())?;
                self.push(Node::Opaque)?;
            }
            b'B' => {
                let length = self.length32()?;
                self.take(length)?;
                self.push(Node::Opaque)?;
            }
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let mark = self.marks.last().copied().unwrap_or(0);
                let start = self.stack.len().checked_sub(usize::from(code - 0x84));
                let start = start.filter(|&start| start >= mark).ok_or_else(underflow)?;
                let items = self.stack.split_off(start);
                self.push(Node::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Dict(pairs(&items)?))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let index = self.byte()?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memoize(index)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = names::resolve(&module, &name)?;
                self.push(global)?;
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                let global = names::resolve(&module, &name)?;
                self.push(global)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = names::persistent(&self.nodes, id)?;
                self.push(storage)?;
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = names::call(&self.nodes, function, arguments)?;
                self.push(made)?;
            }
            0x81 | 0x92 => {
                // An instance of a class: by its arguments, the second also by named ones.
                if code == 0x92 {
                    self.pop()?;
                }
                let (arguments, class) = (self.pop()?, self.pop()?);
                let made = names::call(&self.nodes, class, arguments)?;
                self.push(made)?;
            }
            0x8f => self.push(Node::Set)?,
            0x90 => {
                self.pop_to_mark()?;
                if !matches!(self.top()?, Node::Set | Node::Foreign(_)) {
                    return malformed("it adds to something other than a set");
                }
            }
            0x91 => {
                self.pop_to_mark()?;
                self.push(Node::Set)?;
            }
            b'b' => {
                // Attributes of a dictionary (a state dict's `_metadata`): nothing that is needed.
                self.pop()?;
                if !matches!(self.top()?, Node::Dict(_) | Node::Foreign(_)) {
                    return malformed("it sets the state of something other than a dictionary");
                }
            }
            other => {
                let at = self.at - 1;
                return malformed(format!("opcode 0x{other:02x} at byte {at}, which tensors do not need"));
            }
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return malformed("the pickle is cut off") };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().or_else(|_| malformed("the pickle is cut off"))
    }

    fn length32(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            return malformed("the pickle is cut off");
        };
        let line = self.take(length + 1)?;
        Ok(String::from_utf8_lossy(&line[..length]).into_owned())
    }

    fn push(&mut self, node: Node) -> Result<()> {
        if self.nodes.len() >= MOST_NODES {
            return malformed(format!("more than {MOST_NODES} values"));
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        let node = if length <= 8 {
            // Two's complement, the sign in the last byte.
            let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..length].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(wide))
        } else {
            Node::Opaque
        };
        self.push(node)
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Node::Text(text.to_string())),
            Err(_) => malformed("text that is not UTF-8"),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let mark = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= mark {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_text(&mut self) -> Result<String> {
        let id = self.pop()?;
        match &self.nodes[id] {
            Node::Text(text) => Ok(text.clone()),
            _ => malformed("a name that is not text"),
        }
    }

    fn top(&mut self) -> Result<&mut Node> {
        let &id = self.stack.last().ok_or_else(underflow)?;
        self.nodes.get_mut(id).ok_or_else(underflow)
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        match self.top()? {
            Node::List(list) => list.extend_from_slice(items),
            Node::Foreign(_) => {}
            _ => return malformed("it appends to something other than a list"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let items = pairs(items)?;
        match self.top()? {
            Node::Dict(entries) => entries.extend(items),
            Node::Foreign(_) => {}
            _ => return malformed("it sets entries of something other than a dictionary"),
        }
        Ok(())
    }

    fn memoize(&mut self, index: u32) -> Result<()> {
        let &id = self.stack.last().ok_or_else(underflow)?;
        self.memo.insert(index, id);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        match self.memo.get(&index) {
            Some(&id) => self.stack.push(id),
            None => return malformed(format!("it recalls value {index}, which it never stored")),
        }
        Ok(())
    }
}

fn underflow() -> PickleError {
    PickleError::Malformed("the pickle takes a value that is not there".into())
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return malformed("a key without a value");
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
