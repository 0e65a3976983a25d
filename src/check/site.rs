//! One message on the walk through a resource, and where it stands.

use super::Checked;
use crate::diagnostic::{Finding, Span};
use crate::envoy::{DynamicMessage, Path, Schema};

/// A message inside a resource.
pub(super) struct Site<'a> {
    pub(super) schema: &'a Schema,
    pub(super) resource: &'a Checked,
    /// From the resource to the message.
    pub(super) path: &'a Path,
    pub(super) message: &'a DynamicMessage,
}

/// A step into a field or a list element.
pub(super) enum Step {
    Field(&'static str),
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(field: &'static str) -> Self {
        Self::Field(field)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The path of something below `path`.
pub(super) fn below(path: &Path, steps: &[Step]) -> Path {
    let mut path = path.clone();
    for step in steps {
        match step {
            Step::Field(name) => path.field(*name),
            Step::Index(index) => path.index(*index),
        }
    }
    path
}

/// Steps from field names and indices.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { &[$($crate::check::site::Step::from($step)),*] };
}
pub(super) use steps;

impl Site<'_> {
    /// The path of something inside the message.
    pub(super) fn at(&self, steps: &[Step]) -> Path {
        below(self.path, steps)
    }

    pub(super) fn span(&self, steps: &[Step]) -> Span {
        self.resource.span(&self.at(steps))
    }

    /// Whether the item was read without errors, so that what is absent was left out on purpose.
    pub(super) fn is_whole(&self) -> bool {
        !self.resource.broken
    }

    pub(super) fn error(&self, code: &'static str, steps: &[Step], message: impl Into<String>) -> Finding {
        self.resource.error(code, &self.at(steps), message)
    }

    pub(super) fn warning(&self, code: &'static str, steps: &[Step], message: impl Into<String>) -> Finding {
        self.resource.warning(code, &self.at(steps), message)
    }

    pub(super) fn info(&self, code: &'static str, steps: &[Step], message: impl Into<String>) -> Finding {
        self.resource.info(code, &self.at(steps), message)
    }

    /// An error in the friendly form; only a warning where the author wrote Envoy's own message.
    pub(super) fn error_unless_verbatim(
        &self,
        code: &'static str,
        steps: &[Step],
        message: impl Into<String>,
    ) -> Finding {
        self.resource.error_unless_verbatim(code, &self.at(steps), message)
    }
}

/// The rows of a table that are about a message. A table is in the order of the messages' full names: every message of every
/// resource is looked up.
pub(super) fn rows<'t, T>(table: &'t [T], name: &str, message: impl Fn(&T) -> &str) -> &'t [T] {
    debug_assert!(table.is_sorted_by(|a, b| message(a) <= message(b)), "a table is out of order");
    let start = table.partition_point(|row| message(row) < name);
    let count = table[start..].partition_point(|row| message(row) == name);
    &table[start..start + count]
}

/// Whether a path leads to something inside what another path leads to.
pub(super) fn is_inside(inner: &Path, outer: &Path) -> bool {
    inner.segments().starts_with(outer.segments())
}
