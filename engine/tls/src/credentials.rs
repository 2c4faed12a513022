//! A client's credentials in one file: its certificate, the authority's, and its key.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;
use crate::folder;
use crate::identity::{Held, Identity};
use crate::limits::CREDENTIALS_LIFETIME;
use crate::name::Name;

impl Identity {
    /// Reads what the head wrote for clients.
    ///
    /// # Errors
    /// When there is no such file, others can read it, or it is not what a head writes.
    pub fn from_credentials(path: &Path) -> Result<Self, TlsError> {
        let damaged = |what: &str| TlsError::Damaged {
            path: path.to_owned(),
            what: format!(
                "{what}; copy the file that the head has written, tls/credentials.pem in its folder"
            ),
        };
        let text = folder::read(path)?.ok_or_else(|| damaged("there is no such file"))?;
        let certificates: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let certificates = certificates.map_err(|_| damaged("its certificates cannot be read"))?;
        let [own, authority] = &certificates[..] else {
            return Err(damaged("it does not have two certificates"));
        };
        let name = Name::of(own).ok_or_else(|| damaged("its certificate names nobody of a cluster"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| damaged("it has no key"))?;
        let authority = authority.clone();
        let held = Held::new(certificates, key, CREDENTIALS_LIFETIME)
            .map_err(|_| damaged("its key is not that of its certificate"))?;
        Self::fixed(name, authority, held)
    }
}
