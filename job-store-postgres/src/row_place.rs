//! Where a version of a row is: PostgreSQL's `ctid`.
//!
//! Under the lock of its job, a row stays where it is from one statement to the next, and is found there without a look
//! at any index. It must not be used within the statement that waited for the lock, which cannot see a version that
//! came to be meanwhile.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// The types `tid` and `tid[]`; the numbers of such types never change.
const TID: Oid = Oid(27);
const TID_ARRAY: Oid = Oid(1010);
/// The types `xid` and `xid[]`.
const XID: Oid = Oid(28);
const XID_ARRAY: Oid = Oid(1011);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowPlace {
    page: u32,
    slot: u16,
}

/// Who wrote a version of a row: PostgreSQL's `xmin`. Together with the place it names one version and no other, also
/// without a lock, as long as the table is not written anew, and until the numbers of transactions come again: after two
/// thousand million of them, or when a standby takes over that lacks the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowWriter(u32);

impl Type<Postgres> for RowPlace {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TID)
    }
}

impl PgHasArrayType for RowPlace {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TID_ARRAY)
    }
}

impl Encode<'_, Postgres> for RowPlace {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.page.to_be_bytes());
        buffer.extend_from_slice(&self.slot.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for RowPlace {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a place is only read in its binary form".into());
        }
        let bytes: [u8; 6] = value.as_bytes()?.try_into()?;
        let [a, b, c, d, e, f] = bytes;
        Ok(Self { page: u32::from_be_bytes([a, b, c, d]), slot: u16::from_be_bytes([e, f]) })
    }
}

impl Type<Postgres> for RowWriter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(XID)
    }
}

impl PgHasArrayType for RowWriter {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(XID_ARRAY)
    }
}

impl Encode<'_, Postgres> for RowWriter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for RowWriter {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a writer is only read in its binary form".into());
        }
        Ok(Self(u32::from_be_bytes(value.as_bytes()?.try_into()?)))
    }
}
