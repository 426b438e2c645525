//! The benchmark: measures the targets of the project on the local cloud and compares them with other tools.
//!
//! A part (`part`) alternates between measurements of the project and of a reference, and returns rows. A row has
//! figures, a reference, and targets. `role` contains helpers in separate processes. `make bench` runs everything.

pub mod bench;
pub mod cloud;
pub mod figures;
pub mod machine;
pub mod part;
pub mod process;
pub mod readme;
pub mod report;
pub mod role;
pub mod row;
pub mod table;
pub mod tools;
pub mod unit;
