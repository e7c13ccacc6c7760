//! A JSON object written piece by piece, so that a long list in it is never held whole.

use std::io::Write;

use serde::Serialize;

use super::Failure;

/// An object being written. [`Object::end`] closes it.
pub struct Object<W: Write> {
    out: W,
    first: bool,
}

impl<W: Write> Object<W> {
    pub fn begin(mut out: W) -> Result<Object<W>, Failure> {
        out.write_all(b"{")?;
        Ok(Object { out, first: true })
    }

    fn key(&mut self, key: &str) -> Result<(), Failure> {
        if !std::mem::take(&mut self.first) {
            self.out.write_all(b",")?;
        }
        serde_json::to_writer(&mut self.out, key)?;
        Ok(self.out.write_all(b":")?)
    }

    /// One member.
    pub fn put(&mut self, key: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.key(key)?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// A member that is an array, filled by `fill`.
    pub fn array(
        &mut self,
        key: &str,
        fill: impl FnOnce(&mut Array<'_, W>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.key(key)?;
        self.out.write_all(b"[")?;
        fill(&mut Array { out: &mut self.out, first: true })?;
        Ok(self.out.write_all(b"]")?)
    }

    /// Closes the object with a line end, and flushes.
    pub fn end(mut self) -> Result<(), Failure> {
        self.out.write_all(b"}\n")?;
        Ok(self.out.flush()?)
    }
}

/// An array being written.
pub struct Array<'a, W: Write> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> Array<'_, W> {
    /// One item.
    pub fn push(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        if !std::mem::take(&mut self.first) {
            self.out.write_all(b",")?;
        }
        Ok(serde_json::to_writer(&mut *self.out, value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_in_pieces_is_json() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out).unwrap();
        object.put("a\"", &1).unwrap();
        object.array("none", |_| Ok(())).unwrap();
        object.array("two", |array| array.push(&"x").and_then(|()| array.push(&None::<u8>))).unwrap();
        object.end().unwrap();
        assert_eq!(out, b"{\"a\\\"\":1,\"none\":[],\"two\":[\"x\",null]}\n");
    }
}
