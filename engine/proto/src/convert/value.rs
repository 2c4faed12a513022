//! Codecs of values.

use engine_core::Codec;

use crate::v1;

impl From<Codec> for v1::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Raw => v1::Codec::Raw,
            Codec::Msgpack => v1::Codec::Msgpack,
            Codec::ArrowIpc => v1::Codec::ArrowIpc,
            Codec::Python => v1::Codec::Python,
        }
    }
}
