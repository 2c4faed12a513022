//! Texts that are no token any more.

use proptest::prelude::*;

use super::{made, of, refused};
use crate::{Gate, Role, inspect};

#[test]
fn what_is_no_token_is_refused() {
    let gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::Submitter);
    for bad in ["", "x", "====", "ä", &text[1..], &text[..text.len() / 2], &format!("{text}{text}")] {
        refused(&gate, bad);
        assert!(inspect(bad).is_err());
    }
}

#[test]
fn the_blocks_of_two_tokens_do_not_make_a_third() {
    let gate = Gate::in_memory();
    let (one, two) = (made(&gate, of("a"), Role::Viewer), made(&gate, of("b"), Role::TenantAdmin));
    for at in 1..one.len().min(two.len()) {
        let mixed = format!("{}{}", &one[..at], &two[at..]);
        if mixed != one && mixed != two {
            refused(&gate, &mixed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_changed_token_is_refused(
        at in any::<prop::sample::Index>(),
        to in prop::sample::select(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".to_vec()),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let gate = Gate::in_memory();
        let text = made(&gate, of("a"), Role::Submitter);
        let mut bytes = text.clone().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = to;
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let changed = String::from_utf8(bytes).unwrap();
        if let (true, Ok(shown)) = (changed != text, gate.judge(&changed)) {
            // Some last bits of base64, and the order of what is not signed, say nothing.
            prop_assert_eq!(shown, gate.judge(&text).unwrap());
        }
    }
}
