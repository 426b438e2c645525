//! Values that are checked at creation: numbers within limits, and texts that match a rule.

/// Why a value was not accepted: what the value must be. One type for all checked values, so that a program can show it
/// beside the place in its settings.
///
/// ```
/// use cfn_kit::InvalidValue;
/// use cfn_kit::resources::values::Port;
///
/// let port: Result<Port, InvalidValue> = Port::try_from(70_000);
/// assert_eq!(port.unwrap_err().to_string(), "70000 is not from 1 to 65535");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

impl InvalidValue {
    /// An error with the value, and what the value must be.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Declares types of whole numbers within limits: each is read from an integer, and an error names the limits.
///
/// The crate that uses it depends on `serde`.
///
/// ```
/// cfn_kit::checked_numbers! {
///     /// Seconds that a job may take.
///     pub struct JobSeconds(u16): 1..=900;
/// }
///
/// assert_eq!(JobSeconds::of(60).get(), 60);
/// assert_eq!(JobSeconds::try_from(901).unwrap_err().to_string(), "901 is not from 1 to 900");
/// ```
#[macro_export]
macro_rules! checked_numbers {
    ($( $(#[$about:meta])+ pub struct $name:ident($type:ty): $min:literal..=$max:literal; )+) => { $(
        $(#[$about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ::serde::Deserialize, ::serde::Serialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($type);

        impl $name {
            /// The smallest one.
            pub const MIN: $type = $min;
            /// The largest one.
            pub const MAX: $type = $max;

            /// The number, checked when it is compiled.
            ///
            /// # Panics
            /// At compile time in a constant, if `value` is out of the limits.
            #[allow(clippy::manual_range_contains, unused_comparisons, clippy::absurd_extreme_comparisons)]
            pub const fn of(value: $type) -> Self {
                assert!(value >= $min && value <= $max, "out of the limits");
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> $type {
                self.0
            }
        }

        impl ::std::convert::TryFrom<i64> for $name {
            type Error = $crate::InvalidValue;

            fn try_from(value: i64) -> Result<Self, $crate::InvalidValue> {
                let fitting = <$type>::try_from(value).ok().filter(|value| ($min..=$max).contains(value));
                fitting.map(Self).ok_or_else(|| $crate::InvalidValue::new(format!("{value} is not from {} to {}", $min, $max)))
            }
        }

        impl From<$name> for i64 {
            fn from(number: $name) -> Self {
                number.0.into()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }
    )+ };
}

/// Declares types of text that match a rule: each is read from a string, and an error says what the text must be.
///
/// The crate that uses it depends on `serde`.
///
/// ```
/// cfn_kit::checked_texts! {
///     /// The name of a queue.
///     pub struct QueueName: |text| text.len() <= 80 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
///         "a valid queue name: at most 80 letters and digits";
/// }
///
/// assert_eq!(QueueName::try_from("orders").unwrap().as_str(), "orders");
/// assert!(QueueName::try_from("a b").unwrap_err().to_string().contains("at most 80"));
/// ```
#[macro_export]
macro_rules! checked_texts {
    ($( $(#[$about:meta])+ pub struct $name:ident: $rule:expr, $words:literal; )+) => { $(
        $(#[$about])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, ::serde::Deserialize, ::serde::Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::convert::TryFrom<String> for $name {
            type Error = $crate::InvalidValue;

            fn try_from(text: String) -> Result<Self, $crate::InvalidValue> {
                let rule: fn(&str) -> bool = $rule;
                if rule(&text) { Ok(Self(text)) } else { Err($crate::InvalidValue::new(format!("{text:?} is not {}", $words))) }
            }
        }

        impl ::std::convert::TryFrom<&str> for $name {
            type Error = $crate::InvalidValue;

            fn try_from(text: &str) -> Result<Self, $crate::InvalidValue> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+ };
}
