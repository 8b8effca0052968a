//! What an increment builds on, and what is known of its files while they come.
//!
//! | file | what it does |
//! | --- | --- |
//! | `stored` | [`Parent`]: the chain, and its data |
//! | `old` | the names of the parent, and which file a new one may be |
//! | `compare` | new data beside the parent's, on the threads |
//! | `state` | what is known of files on their way |

mod compare;
mod old;
mod state;
mod stored;

pub(super) use compare::{Cut, cut, nonzero};
pub(super) use old::{Base, Old, OldId, OldName};
pub(super) use state::{Begin, Change, Outcome, Present};
pub use stored::Parent;
