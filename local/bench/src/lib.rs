//! The benchmark: measures what the project promises, on the local cloud, against what others do.
//!
//! A part (`part`) measures one thing by turns with its reference and finds rows; a row is figures, a reference and
//! targets. `role` has what runs in processes of its own meanwhile. `make bench` runs everything.

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
