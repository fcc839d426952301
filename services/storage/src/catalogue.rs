//! The catalogue: which blob stands where. Rows of `storage.pack` and `storage.pack_entry` are insert-only, but for
//! the leaf index, and an entry that gives way to a newer copy (`storage.supersede`).

mod find;
mod insert;
mod locks;
mod packs;
mod places;

pub(crate) use find::{Found, find_blob, stat_blobs};
pub(crate) use insert::{KeyState, NewPack, insert_pack};
pub(crate) use locks::{KeepUntil, locked_blobs, note_locks, packs_to_lock};
pub(crate) use packs::{
    EntryRow, PackRow, count_packs, entry_rows, known_packs, leaves_of_packs, pack_row, pack_rows_after,
    pack_tenants,
};
pub(crate) use places::{locate, shred_leaf_of};
