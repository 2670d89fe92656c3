//! Types of settings, each read from text: that is what flags, the environment and TOML have in common.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value itself: for whoever has to use it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A type that a setting may have.
pub trait Value: Sized + fmt::Debug {
    /// How the documentation names it.
    const KIND: &'static str;

    /// Its errors never repeat the text.
    fn read(text: &str) -> Result<Self, String>;
}

impl Value for String {
    const KIND: &'static str = "text";
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }
}

impl Value for Secret {
    const KIND: &'static str = "secret";
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("it is true or false".into()),
        }
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address:port";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "it is an IP address and a port, e.g. 127.0.0.1:8790 or [::1]:8790".into())
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            const KIND: &'static str = "number";
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("it is a whole number from 0 to {}", <$kind>::MAX))
            }
        }
    )*};
}
numbers!(u32, u64, usize);

impl Value for Vec<String> {
    const KIND: &'static str = "list, commas between";
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

/// Not set where the text is empty.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }
}
