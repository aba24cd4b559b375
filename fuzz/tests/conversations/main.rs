//! Conversations of every kind, cut, repeated, reordered and lost in every way that TCP may: the engine counts what was
//! written down, and so does the reference.

mod corpus;
mod delivery;
mod properties;
mod proxies;
mod strategy;
