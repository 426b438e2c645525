//! The colors of the environments as types, so that a part of one environment cannot be used in the other.

use std::marker::PhantomData;
use std::ops::Deref;

use model::color::Color;

/// A color as a type.
pub trait Side: Sized {
    /// The same color as a value.
    const COLOR: Color;

    /// The value of this color in a pair.
    fn of<T>(pair: &Sides<T>) -> &Own<Self, T>;
}

/// The blue environment.
#[derive(Clone, Copy, Debug)]
pub enum Blue {}

/// The green environment.
#[derive(Clone, Copy, Debug)]
pub enum Green {}

impl Side for Blue {
    const COLOR: Color = Color::Blue;

    fn of<T>(pair: &Sides<T>) -> &Own<Self, T> {
        &pair.blue
    }
}

impl Side for Green {
    const COLOR: Color = Color::Green;

    fn of<T>(pair: &Sides<T>) -> &Own<Self, T> {
        &pair.green
    }
}

/// A `T` that belongs to the environment `C`. Only [`Sides::make`] assigns the color.
///
/// ```
/// use cfn_kit::{Ref, resources::elbv2::TargetGroup};
/// use stack::{Blue, Own, Sides};
///
/// fn blue(pair: Sides<Ref<TargetGroup>>) -> Own<Blue, Ref<TargetGroup>> {
///     pair.blue
/// }
/// ```
///
/// Nobody else can call a target group blue:
///
/// ```compile_fail
/// use cfn_kit::{Ref, resources::elbv2::TargetGroup};
/// use stack::{Blue, Own, Sides};
///
/// fn blue(group: Ref<TargetGroup>) -> Own<Blue, Ref<TargetGroup>> {
///     Own::new(group)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Own<C, T> {
    value: T,
    color: PhantomData<fn() -> C>,
}

impl<C, T> Own<C, T> {
    const fn new(value: T) -> Self {
        Self { value, color: PhantomData }
    }
}

impl<C, T> Deref for Own<C, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One value for each environment, each with its color in its type.
#[derive(Clone, Debug)]
pub struct Sides<T> {
    /// Blue's.
    pub blue: Own<Blue, T>,
    /// Green's.
    pub green: Own<Green, T>,
}

impl<T> Sides<T> {
    /// Creates one for each color.
    pub fn make(mut make: impl FnMut(Color) -> T) -> Self {
        Self { blue: Own::new(make(Color::Blue)), green: Own::new(make(Color::Green)) }
    }

    /// The value of a color, for code that treats both alike.
    pub const fn of(&self, color: Color) -> &T {
        match color {
            Color::Blue => &self.blue.value,
            Color::Green => &self.green.value,
        }
    }
}
