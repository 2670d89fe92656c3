//! Whose turn it is: owners one after the other, each owner's orders in the order in which they came.

use std::collections::VecDeque;

/// Names an order on the floor.
pub type OrderId = u64;

/// Orders that have pictures to begin.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// The next owner first; none has an empty line.
    owners: VecDeque<(String, VecDeque<OrderId>)>,
}

impl FairQueue {
    pub fn push(&mut self, owner: &str, order: OrderId) {
        match self.owners.iter_mut().find(|(name, _)| name == owner) {
            Some((_, line)) => line.push_back(order),
            None => self.owners.push_back((owner.to_string(), VecDeque::from([order]))),
        }
    }

    /// The order whose picture is begun next.
    pub fn next(&self) -> Option<OrderId> {
        self.owners.front().and_then(|(_, line)| line.front()).copied()
    }

    /// The next owner has had a picture begun; the others come first now.
    pub fn served(&mut self) {
        self.owners.rotate_left(usize::from(!self.owners.is_empty()));
    }

    /// Takes an order out, if it is there.
    pub fn remove(&mut self, order: OrderId) {
        for (_, line) in &mut self.owners {
            line.retain(|&id| id != order);
        }
        self.owners.retain(|(_, line)| !line.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_take_turns_and_each_ones_orders_keep_their_order() {
        let mut queue = FairQueue::default();
        for (owner, order) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)] {
            queue.push(owner, order);
        }
        // Order 1 is for three pictures, the others for one.
        let mut left = [0, 3, 1, 1, 1, 1];
        let mut begun = Vec::new();
        while let Some(order) = queue.next() {
            begun.push(order);
            queue.served();
            left[order as usize] -= 1;
            if left[order as usize] == 0 {
                queue.remove(order);
            }
        }
        assert_eq!(begun, [1, 3, 5, 1, 1, 2, 4]);
    }

    #[test]
    fn an_order_that_is_taken_out_leaves_no_trace() {
        let mut queue = FairQueue::default();
        queue.push("a", 1);
        queue.push("b", 2);
        queue.remove(1);
        queue.remove(7);
        assert_eq!(queue.next(), Some(2));
        queue.remove(2);
        assert_eq!(queue.next(), None);
        queue.served();
    }
}
