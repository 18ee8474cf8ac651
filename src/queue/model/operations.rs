//! What is done to the queue and to its naive model, at random.

use super::*;

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    let recipient = (0..4u8, proptest::option::weighted(0.9, 0..6u8));
    let some = proptest::option::of::<std::ops::Range<u8>>;
    let which = (some(0..20), some(0..4), some(0..3), some(0..2));
    let which = which.prop_map(|(message, domain, path, tenant)| Which {
        message: message.map(usize::from),
        domain,
        reverse_path: path.map(u64::from),
        tenant,
    });
    let verbs = vec![Verb::Flush, Verb::Hold, Verb::Release, Verb::Remove];
    let verb = prop::sample::select(verbs);
    prop_oneof![
        4 => proptest::collection::vec(recipient, 0..6).prop_map(Operation::Insert),
        8 => Just(Operation::Pop),
        4 => any::<usize>().prop_map(Operation::Finish),
        4 => (any::<usize>(), 0..30u8).prop_map(|(which, wait)| Operation::Defer(which, wait)),
        2 => (any::<usize>(), 0..30u8).prop_map(|(which, wait)| Operation::Postpone(which, wait)),
        3 => (any::<usize>(), proptest::option::of(1..20u8))
            .prop_map(|(which, wait)| Operation::Park(which, wait)),
        1 => (0..4u8, 0..4u32).prop_map(|(number, room)| Operation::Unpark(number, room)),
        2 => (0..40u8).prop_map(Operation::Advance),
        1 => (-1_000_000_000..1_000_000_000).prop_map(Operation::SetClock),
        1 => (0..3u8, any::<bool>()).prop_map(|(which, on)| Operation::Pause(which, on)),
        1 => (verb, which).prop_map(|(verb, which)| Operation::Operate(verb, which)),
    ]
}
