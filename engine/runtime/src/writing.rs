//! Objects that guests write piece by piece: on the heap while they are small, then in the arena, and
//! on disk once that has no room or they are large, so that nobody holds a large one whole.

use std::sync::Arc;

use engine_core::resources::bytes as text;
use engine_core::{Codec, Error, ErrorCode, Place};
use engine_objects::Draft;

use crate::host::{DiskDraft, Host};
use crate::values::too_large;

/// Bytes that the first room in the arena has; when they are written, the next has four times as many.
const ARENA_BYTES_MIN: usize = 1 << 20;
/// Bytes that are gathered before they go to the disk.
const DISK_BYTES: usize = 4 << 20;

/// An object that is being written.
pub(crate) struct Writing {
    pub(crate) codec: Codec,
    /// Bytes.
    size: u64,
    room: Room,
}

/// How large an object may become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes in memory, where there is a disk.
    pub(crate) memory_bytes_max: u64,
    /// Bytes, where there is none.
    pub(crate) value_bytes_max: u64,
}

enum Room {
    Memory(Memory),
    Disk {
        draft: DiskDraft,
        gathered: Vec<u8>,
    },
    /// A piece could not be written, and the object can never be complete.
    Failed(Error),
}

enum Memory {
    Heap(Vec<u8>),
    Arena(Draft),
}

/// What was written.
pub(crate) enum Written {
    /// To be stored as any value is.
    Small(Vec<u8>),
    Stored(Place, u64),
}

impl Writing {
    /// Nothing yet.
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, size: 0, room: Room::Memory(Memory::Heap(Vec::new())) }
    }

    /// Adds bytes at the end. After an error nothing more can be added; what there was is given up.
    pub(crate) async fn append(
        &mut self,
        host: &Arc<dyn Host>,
        bytes: &[u8],
        bounds: Bounds,
    ) -> Result<(), Error> {
        let size = self.size + bytes.len() as u64;
        // Whatever interrupts this leaves an object that is not whole.
        let interrupted = Error::internal("writing a piece of the object was interrupted");
        let room = std::mem::replace(&mut self.room, Room::Failed(interrupted));
        match grown(host, room, bytes, size, bounds).await {
            Ok(room) => {
                self.room = room;
                self.size = size;
                Ok(())
            }
            Err(error) => {
                self.room = Room::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// The whole.
    pub(crate) async fn finish(self, host: &Arc<dyn Host>) -> Result<Written, Error> {
        match self.room {
            Room::Failed(error) => Err(Error::new(
                error.code(),
                format!(
                    "the object is not complete, for a piece of it could not be written: {}",
                    error.message()
                ),
            )),
            Room::Memory(Memory::Heap(bytes)) => Ok(Written::Small(bytes)),
            Room::Memory(Memory::Arena(draft)) => Ok(Written::Stored(draft.seal(), self.size)),
            Room::Disk { draft, gathered } => {
                let draft = match gathered.is_empty() {
                    true => draft,
                    false => host.append_on_disk(Some(draft), gathered).await?,
                };
                Ok(Written::Stored(host.seal_on_disk(draft).await?, self.size))
            }
        }
    }
}

async fn grown(
    host: &Arc<dyn Host>,
    room: Room,
    bytes: &[u8],
    size: u64,
    bounds: Bounds,
) -> Result<Room, Error> {
    let memory_bytes_max = match host.can_spill() {
        true => bounds.memory_bytes_max,
        false => bounds.value_bytes_max,
    };
    let written = match room {
        Room::Failed(error) => return Err(error),
        Room::Disk { draft, gathered } => return on_disk(host, draft, gathered, bytes).await,
        Room::Memory(Memory::Heap(mut heap)) if size <= host.inline_object_bytes_max() as u64 => {
            heap.extend_from_slice(bytes);
            return Ok(Room::Memory(Memory::Heap(heap)));
        }
        Room::Memory(Memory::Arena(mut draft)) if bytes.len() <= draft.left() => {
            draft.append(bytes)?;
            return Ok(Room::Memory(Memory::Arena(draft)));
        }
        Room::Memory(written) => written,
    };
    if size <= memory_bytes_max {
        match in_arena(&**host, &written, bytes, size, memory_bytes_max) {
            Err(error) if error.code() == ErrorCode::StoreFull && host.can_spill() => {}
            moved => return moved.map(|draft| Room::Memory(Memory::Arena(draft))),
        }
    } else if !host.can_spill() {
        return Err(too_large(size, bounds.value_bytes_max));
    }
    let mut draft = host.append_on_disk(None, Vec::new()).await?;
    for part in written.bytes().chunks(DISK_BYTES) {
        draft = host.append_on_disk(Some(draft), part.to_vec()).await?;
    }
    drop(written);
    on_disk(host, draft, Vec::new(), bytes).await
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Arena(draft) => draft.as_slice(),
        }
    }
}

/// What was written and what is added, in a larger room; as large as is needed when there is no more.
fn in_arena(host: &dyn Host, written: &Memory, bytes: &[u8], size: u64, max: u64) -> Result<Draft, Error> {
    let too_large = |_| {
        Error::new(ErrorCode::LimitExceeded, format!("an object of {} does not fit into memory", text(size)))
    };
    let (size, max) = (usize::try_from(size).map_err(too_large)?, usize::try_from(max).unwrap_or(usize::MAX));
    let wished = written.bytes().len().saturating_mul(4).clamp(ARENA_BYTES_MIN, max).max(size);
    let mut draft = host.allocate(wished).or_else(|_| host.allocate(size))?;
    draft.append(written.bytes())?;
    draft.append(bytes)?;
    Ok(draft)
}

async fn on_disk(
    host: &Arc<dyn Host>,
    draft: DiskDraft,
    mut gathered: Vec<u8>,
    bytes: &[u8],
) -> Result<Room, Error> {
    gathered.extend_from_slice(bytes);
    if gathered.len() < DISK_BYTES {
        return Ok(Room::Disk { draft, gathered });
    }
    let draft = host.append_on_disk(Some(draft), gathered).await?;
    Ok(Room::Disk { draft, gathered: Vec::new() })
}
