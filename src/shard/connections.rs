//! Find what a connection is for: a table with one row a connection.
//!
//! Rows are placed by the connection's index, which the platform keeps dense; a row answers only to
//! the generation that it was made for. All operations are O(1). Lives on: its shard.

use crate::shard::platform::ConnectionId;

/// What is known of each connection of one kind.
#[derive(Debug)]
pub(crate) struct Connections<T> {
    rows: Vec<Option<(ConnectionId, T)>>,
    len: usize,
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), len: 0 }
    }
}

impl<T> Connections<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Remember `value` for `id`, which must not be here yet.
    pub(crate) fn insert(&mut self, id: ConnectionId, value: T) {
        let index = id.0.index();
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        assert!(self.rows[index].is_none(), "two connections at place {index}");
        self.rows[index] = Some((id, value));
        self.len += 1;
    }

    /// What `id` is for, if it is of this kind and still here.
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        match self.rows.get_mut(id.0.index()) {
            Some(Some((owner, value))) if *owner == id => Some(value),
            _ => None,
        }
    }

    /// Forget `id`.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        let row = self.rows.get_mut(id.0.index())?;
        let (_, value) = row.take_if(|(owner, _)| *owner == id)?;
        self.len -= 1;
        Some(value)
    }

    /// What all are for, in order of place.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().flatten().map(|(_, value)| value)
    }

    /// The ids of all, in order of place.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.rows.iter().flatten().map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Slots;

    #[test]
    fn a_row_answers_only_to_its_own_generation() {
        let mut slots = Slots::default();
        let first = ConnectionId(slots.insert(()));
        let mut table = Connections::default();
        table.insert(first, 'a');
        assert_eq!(table.remove(first), Some('a'));
        slots.remove(first.0);
        let second = ConnectionId(slots.insert(()));
        table.insert(second, 'b');
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!((table.len(), table.ids()), (1, vec![second]));
    }
}
