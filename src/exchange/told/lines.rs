//! The lines that writers make.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{LeftOut, Place, text};
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::json::decimal;
use crate::model::{Call, Digest};

/// An export under way whose records are lines of JSON.
pub struct Lines<'w> {
    /// What is to be written.
    pub task: &'w Task<'w>,
    /// Where to.
    pub out: &'w mut dyn Output,
    /// What there is no record for.
    pub left_out: LeftOut,
    written: u64,
}

impl<'w> Lines<'w> {
    /// Nothing is written yet.
    pub fn new(task: &'w Task<'w>, out: &'w mut dyn Output) -> Lines<'w> {
        Lines { task, out, left_out: LeftOut::default(), written: 0 }
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// [`ExportError::Output`].
    pub fn line(&mut self, record: &impl Serialize) -> Result<(), ExportError> {
        let mut bytes = serde_json::to_vec(record).map_err(|error| ExportError::Output(error.into()))?;
        bytes.push(b'\n');
        self.written += 1;
        self.out.write(&bytes)
    }

    /// A payload as [`text`].
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`].
    pub fn text(&self, payload: Digest) -> Result<String, ExportError> {
        Ok(text(self.task, payload)?)
    }

    /// What the next record may be named by: another for each, and the same at each export.
    pub fn id(&self, place: &Place) -> Digest {
        Digest::of(format!("{} {} {} {}", self.task.session, place.session, place.event, self.written).as_bytes())
    }

    /// The same as a UUID.
    pub fn uuid(&self, place: &Place) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.id(place).0[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// A value as JSON.
///
/// # Errors
///
/// [`ExportError::Output`] for what JSON cannot say.
pub fn raw(value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, ExportError> {
    serde_json::value::to_raw_value(value).map_err(|error| ExportError::Output(error.into()))
}

/// The cost of a call in USD, digit by digit.
///
/// # Errors
///
/// None that is known: a decimal is JSON.
pub fn cost(call: &Call) -> Result<Option<Box<RawValue>>, ExportError> {
    let cost = call.cost.map(|cost| RawValue::from_string(decimal(cost, 9))).transpose();
    cost.map_err(|error| ExportError::Output(error.into()))
}
