use super::{Hash, HashReader, NodeId, TreeError, node_hash};

/// A run of leaves `start..end`, not empty, that is one node of some RFC 6962 tree: `start` is a multiple of the
/// smallest power of two that is at least its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

impl Range {
    /// The complete subtrees it decomposes into, from left to right.
    pub fn nodes(self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut start = self.start;
        while start < self.end {
            let level = (self.end - start).ilog2();
            nodes.push(NodeId { level: level as u8, index: start >> level });
            start += 1 << level;
        }
        nodes
    }

    /// MTH of these leaves.
    pub fn hash<R: HashReader>(self, reader: &R) -> Result<Hash, R::Error> {
        let mut nodes = self.nodes().into_iter().rev();
        let rightmost = nodes.next().expect("a range is not empty, so it has at least one node");
        let mut hash = reader.hash(rightmost)?;
        for node in nodes {
            hash = node_hash(&reader.hash(node)?, &hash);
        }
        Ok(hash)
    }

    /// RFC 6962's split: the left part has the largest power of two of leaves that is smaller than the whole.
    fn split(self) -> (Self, Self) {
        let middle = self.start + (1 << (self.end - self.start - 1).ilog2());
        (Self { start: self.start, end: middle }, Self { start: middle, end: self.end })
    }

    const fn length(self) -> u64 {
        self.end - self.start
    }
}

/// The runs of leaves whose hashes are the inclusion proof of leaf `index` in a tree of `size`, in proof order.
pub fn inclusion_plan(index: u64, size: u64) -> Result<Vec<Range>, TreeError> {
    if index >= size {
        return Err(TreeError::IndexBeyondTree { index, size });
    }
    let mut here = Range { start: 0, end: size };
    let mut siblings = Vec::new();
    while here.length() > 1 {
        let (left, right) = here.split();
        let (next, sibling) = if index < left.end { (left, right) } else { (right, left) };
        siblings.push(sibling);
        here = next;
    }
    siblings.reverse();
    Ok(siblings)
}

/// The runs of leaves whose hashes are the consistency proof from a tree of `old` leaves to one of `new`, in proof
/// order. Empty for equal sizes and for `old` = 0, where there is nothing to prove.
pub fn consistency_plan(old: u64, new: u64) -> Result<Vec<Range>, TreeError> {
    if old > new {
        return Err(TreeError::TreeShrank { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut here = Range { start: 0, end: new };
    let mut hashes = Vec::new();
    // Down along the edge of the old tree until a node that is wholly in it.
    while here.end != old {
        let (left, right) = here.split();
        if old <= left.end {
            hashes.push(right);
            here = left;
        } else {
            hashes.push(left);
            here = right;
        }
    }
    // The old root itself is known to whoever asks, unless the old tree is not a node of the new one.
    if here.start > 0 {
        hashes.push(here);
    }
    hashes.reverse();
    Ok(hashes)
}
