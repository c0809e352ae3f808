//! What a review of access found: strangers who take what others need, clocks that are apart, the
//! last admin, refusals that left no trace. Each test failed before, or was seen to fail with the
//! promise broken on purpose.

mod crowd;
mod people;
