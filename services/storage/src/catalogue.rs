//! The catalogue: which blob stands where. Rows of `storage.pack` and `storage.pack_entry` are insert-only, but for
//! the leaf index.

mod find;
mod insert;
mod packs;

pub(crate) use find::{Found, find_blob, stat_blobs};
pub(crate) use insert::{NewPack, insert_pack};
pub(crate) use packs::{
    EntryRow, PackRow, count_packs, entry_rows, known_packs, leaves_of_packs, pack_row, pack_rows_after,
    pack_tenants,
};
