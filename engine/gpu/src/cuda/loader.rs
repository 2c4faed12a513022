//! Libraries that may not be there.

use libloading::Library;

/// Declares the functions of a library as a struct, with a `load` that gives none when the library, or one of
/// the functions that must be there, is missing. Those after `optional` may be missing.
macro_rules! functions {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($field:ident = $symbol:literal ( $($argument:ty),* ) -> $result:ty;)*
        }
        optional {
            $($maybe:ident = $maybe_symbol:literal ( $($maybe_argument:ty),* ) -> $maybe_result:ty;)*
        }
    ) => {
        $(#[$doc])*
        pub struct $name {
            $(#[allow(missing_docs, reason = "the driver's own names")] pub $field: unsafe extern "C" fn($($argument),*) -> $result,)*
            $(#[allow(missing_docs, reason = "the driver's own names")] pub $maybe: Option<unsafe extern "C" fn($($maybe_argument),*) -> $maybe_result>,)*
        }

        impl $name {
            fn load(names: &[&str]) -> Option<Self> {
                let library = $crate::cuda::loader::open(names)?;
                $(
                    // SAFETY: the symbol, if it is there, has the signature that the vendor's header gives it.
                    let $field = *unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> $result>(concat!($symbol, "\0").as_bytes()) }.ok()?;
                )*
                $(
                    // SAFETY: as above.
                    let $maybe = unsafe { library.get::<unsafe extern "C" fn($($maybe_argument),*) -> $maybe_result>(concat!($maybe_symbol, "\0").as_bytes()) }.ok().map(|symbol| *symbol);
                )*
                Some(Self { $($field,)* $($maybe,)* })
            }
        }
    };
}

pub(super) use functions;

/// Where CUDA's installers put libraries that the loader does not know of by itself.
const FOLDERS: [&str; 3] =
    ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib", "/opt/cuda/lib64"];

/// The first of these that there is: by the loader's own search, in `CUDA_PATH`, then in the usual folders.
/// A library stays loaded for ever, as do the threads that some of them start.
pub(super) fn open(names: &[&str]) -> Option<&'static Library> {
    let of_user = std::env::var("CUDA_PATH").ok().map(|folder| format!("{folder}/lib64"));
    let folders = of_user.as_deref().into_iter().chain(FOLDERS);
    let paths = folders.flat_map(|folder| names.iter().map(move |name| format!("{folder}/{name}")));
    let candidates = names.iter().map(|name| (*name).to_owned()).chain(paths);
    for candidate in candidates {
        // SAFETY: these are the vendor's libraries, by the names that it gives them; their initialisers may
        // run in any thread.
        if let Ok(library) = unsafe { Library::new(&candidate) } {
            return Some(Box::leak(Box::new(library)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_missing_is_none() {
        assert!(super::open(&["libengine-there-is-no-such-library.so.1"]).is_none());
    }
}
