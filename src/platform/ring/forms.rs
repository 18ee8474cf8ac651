//! Put what the kernel reads beside an entry into its form.

use std::sync::Arc;

use crate::base::limits::WRITE_SLICES_MAX;

/// The slices of `buffers` after the first `skip` octets, as many as one write takes.
pub(super) fn slices_after(buffers: &[Arc<Vec<u8>>], mut skip: usize) -> Box<[libc::iovec]> {
    let rest = buffers.iter().filter_map(|buffer| {
        let skipped = skip.min(buffer.len());
        skip -= skipped;
        (skipped < buffer.len()).then(|| libc::iovec {
            iov_base: buffer[skipped..].as_ptr().cast_mut().cast(),
            iov_len: buffer.len() - skipped,
        })
    });
    rest.take(WRITE_SLICES_MAX).collect()
}
