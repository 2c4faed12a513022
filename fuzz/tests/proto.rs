//! Messages of any bytes, and texts that name something: an error or a value, never a panic. What reads
//! back is written the same.

use bolero::check;
use engine_core::Error;
use engine_core::resources::Resources;
use engine_proto::convert::{component_id, digest, duration, std_duration, system_time};
use engine_proto::fields::{field, keys, kind_of};
use engine_proto::prost::Message;
use engine_proto::{Address, error_from_status, prost_types, status_from_error, v1};

/// Decodes it and, when that works, writes it and decodes it again.
fn decode<M: Message + Default + Clone + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("what we write can be read");
    // Not compared for equality: a number that is none differs from itself.
    assert_eq!(again.encode_to_vec(), message.encode_to_vec());
    Some(message)
}

/// Every request, every answer that a client reads, and what they are converted to.
#[test]
fn messages() {
    check!().for_each(|bytes: &[u8]| {
        decode::<v1::HelloRequest>(bytes);
        decode::<v1::HelloResponse>(bytes);
        decode::<v1::SubmitRequest>(bytes);
        decode::<v1::GetJobRequest>(bytes);
        decode::<v1::ListJobsRequest>(bytes);
        decode::<v1::StopJobRequest>(bytes);
        decode::<v1::DeleteJobRequest>(bytes);
        decode::<v1::WatchJobRequest>(bytes);
        decode::<v1::JobEvent>(bytes);
        decode::<v1::LogsRequest>(bytes);
        decode::<v1::LogBatch>(bytes);
        decode::<v1::HasRequest>(bytes);
        decode::<v1::UploadRequest>(bytes);
        decode::<v1::ComponentInfo>(bytes);
        decode::<v1::ListRequest>(bytes);
        decode::<v1::GetRequest>(bytes);
        decode::<v1::ExplainRequest>(bytes);
        decode::<v1::Explanation>(bytes);
        decode::<v1::StatusResponse>(bytes);
        if let Some(resources) = decode::<v1::Resources>(bytes) {
            let _ = Resources::from(&resources);
        }
        if let Some(time) = decode::<prost_types::Timestamp>(bytes) {
            let _ = system_time(&time);
        }
        if let Some(span) = decode::<prost_types::Duration>(bytes)
            && let Some(span) = std_duration(&span)
        {
            let _ = duration(span);
        }
        if let Some(view) = decode::<v1::View>(bytes)
            && let Some(kind) = kind_of(&view)
        {
            for key in keys(kind) {
                let _ = field(&view, key);
            }
        }
    });
}

/// An error that came from elsewhere can be sent on, and is the same after.
#[test]
fn errors() {
    check!().for_each(|bytes: &[u8]| {
        let Some(message) = decode::<v1::Error>(bytes) else { return };
        let error = Error::from(message);
        let received = error_from_status(&status_from_error(&error)).expect("the details are there");
        assert_eq!(received.code(), error.code());
    });
}

#[test]
fn texts() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(address) = text.parse::<Address>() {
            let written = address.to_string();
            assert_eq!(written.parse(), Ok(address));
        }
        for text in [text.clone(), format!("sha256:{text}").into()] {
            if let Ok(id) = component_id(&text) {
                assert_eq!(digest(id), text.to_ascii_lowercase());
            }
        }
    });
}
