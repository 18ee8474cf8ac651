//! A site against scripted connections.
