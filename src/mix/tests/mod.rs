//! Facts of the room.
