//! The sending machine against scripted peers, their replies split at every byte, and against a
//! peer of random moods that holds it to the rules of a server.

mod client_machine {
    mod dialogue;
    mod endings;
    mod moods;
    mod opening;
    mod transactions;
}
