//! The strings of an ELF file's sections.
//!
//! Owns just enough of 64-bit little-endian ELF to answer two questions: which functions an object
//! has, and which libraries a program needs.

use std::ffi::CStr;

/// The NUL-terminated strings in a section; none when the file or the section is not there.
pub(crate) fn strings<'a>(file: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = section(file, name).unwrap_or_default();
    std::iter::from_fn(move || {
        let text = CStr::from_bytes_until_nul(rest).ok()?.to_bytes();
        rest = rest.get(text.len() + 1..).unwrap_or_default();
        Some(text)
    })
    .filter(|text| !text.is_empty())
}

/// The bytes of a section.
pub(crate) fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    file.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let table = usize::try_from(u64_at(file, 0x28)?).ok()?;
    let entry_size = usize::from(u16_at(file, 0x3a)?);
    let count = usize::from(u16_at(file, 0x3c)?);
    let names_index = usize::from(u16_at(file, 0x3e)?);
    let header = |index: usize| file.get(table.checked_add(index.checked_mul(entry_size)?)?..);
    let content = |header: &[u8]| {
        let start = usize::try_from(u64_at(header, 0x18)?).ok()?;
        let size = usize::try_from(u64_at(header, 0x20)?).ok()?;
        file.get(start..start.checked_add(size)?)
    };
    let names = content(header(names_index)?)?;
    (0..count).filter_map(header).find_map(|header| {
        let at = usize::try_from(u32_at(header, 0)?).ok()?;
        let found = CStr::from_bytes_until_nul(names.get(at..)?).ok()?;
        (found.to_bytes() == name.as_bytes()).then(|| content(header))?
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
