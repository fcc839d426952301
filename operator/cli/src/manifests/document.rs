//! YAML in which every value knows its line.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use std::{
    collections::BTreeMap,
    fmt::{self, Formatter},
};

/// One document of a file.
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Of every value, by path as in [`openarchive_operator_api::Problem`].
    lines: BTreeMap<String, u64>,
}

/// What is no YAML.
pub(super) struct Broken {
    pub(super) line: u64,
    pub(super) message: String,
}

impl Document {
    /// The line of what stands at that path, or else of what it would stand in.
    pub(super) fn line_of(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
            if path.is_empty() {
                return self.lines.get("").copied().unwrap_or(1);
            }
        }
    }
}

/// Documents in order, empty ones left out. After a broken one it goes on with the next.
pub(super) fn documents(text: &str) -> Vec<Result<Document, Broken>> {
    // Comments are not kept: their number is limited where they are.
    let options = serde_saphyr::options! { emit_comments: false, with_snippet: false };
    let mut bytes = text.as_bytes();
    let nodes = serde_saphyr::read_with_options::<_, Spanned<Node>>(&mut bytes, options);
    let documents = nodes.map(|node| {
        let node = node.map_err(|error| Broken {
            line: error.location().map_or(1, |location| location.line()),
            message: error.to_string(),
        })?;
        let mut lines = BTreeMap::new();
        let line = node.referenced.line();
        Ok(Document { value: place(node.value, line, String::new(), &mut lines), lines })
    });
    documents.collect()
}

/// A value of which every part carries its place.
enum Node {
    Leaf(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The plain value; notes the line of all its parts, of a field that of its name.
fn place(node: Node, line: u64, path: String, lines: &mut BTreeMap<String, u64>) -> Value {
    let value = match node {
        Node::Leaf(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate().map(|(index, item)| {
                place(item.value, item.referenced.line(), format!("{path}[{index}]"), lines)
            });
            Value::Array(items.collect())
        }
        Node::Map(fields) => {
            let fields = fields.into_iter().map(|(name, field)| {
                let below =
                    if path.is_empty() { name.value.clone() } else { format!("{path}.{}", name.value) };
                let field = place(field.value, name.referenced.line(), below, lines);
                (name.value, field)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
    };
    lines.insert(path, line);
    value
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON has")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(Value::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(Value::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("JSON has no such number"))?;
        Ok(Node::Leaf(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(Value::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Map(fields))
    }
}
