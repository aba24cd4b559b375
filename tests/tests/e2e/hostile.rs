//! What nobody sends who means well: cut, overlapping, with absurd offsets and lengths. Nothing breaks, what is real beside
//! it is counted exactly, and what could not be read is told.

mod captures;
mod frames;
mod segments;
