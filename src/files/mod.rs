//! Files on a mounted btrfs: which extents they have, and who shows them.
//!
//! The unit of all counting is the extent on disk: it counts once, however many files and
//! snapshots show it, and whatever part of it.
//!
//! | file | what it does |
//! | --- | --- |
//! | `map` | [`Map`]: every extent below some paths, what is shown of it, a file that shows it |
//! | `totals` | [`Totals`]: sums per kind of extent and per directory |
//! | `references` | [`References`]: every place where a file, in any snapshot, shows an extent |
//! | `squeeze` | [`Squeeze`]: makes extents smaller, in every file that shows them; [`SqueezeOwn`]: without root |
//! | `item` | [`FileExtentItem`]: what part of which extent a file shows, as the tree has it |
//! | `scope` | what a path means |
//! | `read` | reads the items of files, in pieces |
//! | `shown` | the union of what is shown |
//! | `directories` | what extents are counted for |
//! | `verify` | [`verify`]: decodes every compressed extent, once |
//! | `estimate` | [`estimate`]: what compressing them again would give |
//! | `survey` | [`survey`]: what anybody may see, by FIEMAP |
//! | `walk` | goes through directories, as any user may |
//! | `stored` | reads an extent as it is stored, through whatever file shows it |
//! | `names` | [`Names`]: what the files that show an extent are called |
//! | `beneath` | [`Beneath`]: opens and makes what is in a directory, and nothing outside it |
//! | `error` | why it does not work |
//!
//! A path to the top of a subvolume means the subvolume and all subvolumes and snapshots that lie
//! in it; the top of the filesystem means everything. Another directory means what is below it,
//! with the subvolumes there. [`Map::included`] says which there were.
//!
//! ```no_run
//! use btrfs_payload::files::{Map, MapOptions, References};
//! use btrfs_payload::ioctl;
//!
//! let map = Map::new(&["/mnt/data".into()], &MapOptions::default())?;
//! let mut references = References::new(map.top());
//! for extent in map.extents() {
//!     // Every file that shows it, in every snapshot, opened for reading.
//!     for place in references.of(extent.bytenr)?.references {
//!         let file = ioctl::open_inode(map.top(), place.root, place.inode, None)?;
//!         println!("{file:?} shows {} bytes at {}", place.len, place.offset);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of this but [`survey`] and [`SqueezeOwn`] needs `CAP_SYS_ADMIN`. The filesystem may change meanwhile: the map
//! has some of before and some of after, and whoever acts on it asks [`References`] about each
//! extent.

mod beneath;
mod directories;
mod error;
mod estimate;
mod item;
mod map;
mod names;
mod read;
mod references;
mod scope;
mod shown;
mod squeeze;
mod stored;
mod survey;
mod totals;
mod verify;
mod walk;

pub use beneath::Beneath;
pub use directories::{Directories, DirectoryId};
pub use error::FilesError;
pub use estimate::{EstimateOptions, Estimates, estimate};
pub use item::{FileExtentItem, Stored};
pub use map::{Extent, InlineSum, Map, MapOptions};
pub use names::{Name, Names, Place};
pub use references::{Found, Reference, References};
pub use scope::Included;
pub use squeeze::{Left, Share, Squeeze, SqueezeOptions, SqueezeOwn, SqueezeSummary, Squeezed};
pub use survey::{Survey, survey};
pub use totals::{Kind, Sum, Totals};
pub use verify::{Event, Unsound, Verified, Where, verify};
