//! Put what the kernel reads beside an entry into its form.

use std::sync::Arc;

use crate::base::limits::WRITE_SLICES_MAX;

/// The slices of `buffers` after the first `skip` octets, and whether these are all of them.
pub(super) fn slices_after(
    buffers: &[Arc<Vec<u8>>],
    mut skip: usize,
) -> (Box<[libc::iovec]>, bool) {
    let mut rest = buffers.iter().filter_map(|buffer| {
        let skipped = skip.min(buffer.len());
        skip -= skipped;
        (skipped < buffer.len()).then(|| libc::iovec {
            iov_base: buffer[skipped..].as_ptr().cast_mut().cast(),
            iov_len: buffer.len() - skipped,
        })
    });
    let slices = rest.by_ref().take(WRITE_SLICES_MAX).collect();
    (slices, rest.next().is_none())
}
