//! Reads the fields of a JSON object one by one; an error names the field. Must not know which fields a request has.

use super::{RequestError, StatusSet, codes, limits};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The fields of one object, at `path` in the event. A field that is `null` counts as absent.
pub(super) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    /// Whether unknown fields are refused.
    strict: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn of(path: &str, value: &'a Value, strict: bool) -> Result<Self, RequestError> {
        let object = value.as_object().ok_or_else(|| {
            let field = if path.is_empty() { "event" } else { path };
            RequestError::new(field, format!("it must be an object, not {}", kind(value)))
        })?;
        Ok(Self { path: path.to_owned(), object, known: BTreeSet::new(), strict })
    }

    /// Refuses unknown fields, if strict.
    pub(super) fn finish(self) -> Result<(), RequestError> {
        let unknown = |key: &&String| self.strict && !self.known.contains(key.as_str());
        match self.object.keys().find(unknown) {
            None => Ok(()),
            Some(unknown) => {
                let shown: String = unknown.chars().take(60).collect();
                let known: Vec<_> = self.known.iter().copied().collect();
                let problem = format!("unknown field; known fields: {}", known.join(", "));
                Err(RequestError::new(self.at(&shown), problem))
            }
        }
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, wanted: &str, value: &Value) -> RequestError {
        RequestError::new(self.at(name), format!("it must be {wanted}, not {}", kind(value)))
    }

    pub(super) fn text(&mut self, name: &'static str, longest: usize) -> Result<Option<String>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| self.wrong(name, "a text", value))?;
        if text.len() > longest {
            let problem = format!("it has {} bytes; the limit is {longest}", text.len());
            return Err(RequestError::new(self.at(name), problem));
        }
        if text.chars().any(char::is_control) {
            return Err(RequestError::new(self.at(name), "it contains control characters"));
        }
        Ok(Some(text.to_owned()))
    }

    /// A text that is one of these names.
    pub(super) fn name<T: Copy>(&mut self, name: &'static str, known: &[(&str, T)]) -> Result<Option<T>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| self.wrong(name, "a text", value))?;
        let found = known.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            let shown: String = text.chars().take(40).collect();
            RequestError::new(self.at(name), format!("{shown:?} is not one of {}", names.join(", ")))
        })
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(name, "true or false", value))
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        limits: &RangeInclusive<u32>,
    ) -> Result<Option<u32>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(number) => in_range(&self.at(name), number, limits).map(Some),
            None if value.is_number() => {
                let problem = format!("{value} is not a whole number from {} to {}", limits.start(), limits.end());
                Err(RequestError::new(self.at(name), problem))
            }
            None => Err(self.wrong(name, "a whole number", value)),
        }
    }

    /// A number of milliseconds.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        limits: &RangeInclusive<u32>,
    ) -> Result<Option<Duration>, RequestError> {
        let milliseconds = self.number(name, limits)?;
        Ok(milliseconds.map(|ms| Duration::from_millis(u64::from(ms))))
    }

    pub(super) fn timestamp(&mut self, name: &'static str) -> Result<Option<Timestamp>, RequestError> {
        let Some(text) = self.text(name, limits::TEXT)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let problem = "it is not a time such as 2026-01-31T12:00:00Z (RFC 3339)";
            RequestError::new(self.at(name), problem)
        })
    }

    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Fields<'a>) -> Result<T, RequestError>,
    ) -> Result<Option<T>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        read(Fields::of(&self.at(name), value, self.strict)?).map(Some)
    }

    /// An array of objects whose number must be within limits.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        limits: &RangeInclusive<u32>,
        read: impl Fn(Fields<'a>) -> Result<T, RequestError>,
    ) -> Result<Option<Vec<T>>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let items = value.as_array().ok_or_else(|| self.wrong(name, "an array of objects", value))?;
        if !u32::try_from(items.len()).is_ok_and(|count| limits.contains(&count)) {
            let problem = format!("it has {} items; {} to {} are allowed", items.len(), limits.start(), limits.end());
            return Err(RequestError::new(self.at(name), problem));
        }
        let items = items.iter().enumerate();
        let read = items
            .map(|(position, item)| read(Fields::of(&format!("{}[{position}]", self.at(name)), item, self.strict)?));
        read.collect::<Result<_, _>>().map(Some)
    }

    /// The error for a missing field.
    pub(super) fn missing(&self, name: &str) -> RequestError {
        RequestError::new(self.at(name), "it is missing")
    }

    /// An array of status codes and of inclusive ranges such as "200-299".
    pub(super) fn statuses(&mut self, name: &'static str) -> Result<Option<StatusSet>, RequestError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let wanted = "an array of status codes (100–599) or ranges such as \"200-299\"";
        let items = value.as_array().ok_or_else(|| self.wrong(name, wanted, value))?;
        let ranges: Option<Vec<_>> = items.iter().map(status_range).collect();
        match ranges {
            Some(ranges) if !ranges.is_empty() && ranges.len() <= 100 => Ok(Some(StatusSet::new(ranges))),
            _ => Err(RequestError::new(self.at(name), format!("it must be {wanted}, with 1 to 100 items"))),
        }
    }
}

fn status_range(item: &Value) -> Option<RangeInclusive<u16>> {
    match item {
        Value::Number(number) => codes(number.as_u64()?, number.as_u64()?),
        Value::String(text) => {
            let (first, last) = text.split_once('-')?;
            codes(first.parse().ok()?, last.parse().ok()?)
        }
        _ => None,
    }
}

pub(super) fn in_range(field: &str, number: u64, limits: &RangeInclusive<u32>) -> Result<u32, RequestError> {
    u32::try_from(number).ok().filter(|number| limits.contains(number)).ok_or_else(|| {
        let problem = format!("{number} is out of range, {} to {}", limits.start(), limits.end());
        RequestError::new(field, problem)
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
