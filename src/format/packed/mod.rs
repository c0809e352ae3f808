//! Packed forms: a closed log segment without the bytes that follow from the others, and a body
//! file of past days with its plaintexts compressed. Both give back what they were made from: a
//! packed segment every byte of its units, a packed body file every group. Neither is trusted
//! for having been packed: whoever reads judges what comes out, as if it had lain there plainly.
//!
//! ```text
//! file log/NNNNNNNN.pak
//!  off size field
//!    0   4  "CHP1"
//!    4   4  number of the segment
//!    8  16  tenant
//!   24      blocks (`block`), end to end
//!           rows, one a block: offset in the segment u64 | offset here u64
//!                            | number of its first unit u64 | index of its first entry u64
//!  -32   8  length of the segment it replaces
//!  -24   8  offset of the first row
//!  -16   4  number of rows
//!  -12   4  CRC-32 of all from the first row to here
//!   -8   8  "CHP1END" 00
//! ```

pub mod block;
pub mod bodies;
mod columns;
pub mod plain;
pub mod segment;
mod squeeze;

#[cfg(test)]
mod tests;
