//! The reference and the shipped rules load.
